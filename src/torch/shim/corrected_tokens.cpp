// Corrections of tokens that another operator makes: the modulated norm, or the residual stream with its gated
// residual. A thread makes an image's tokens and corrects them while they are in its caches, so they are never
// written to memory; the backward pass makes them again. The same CPU operators run on the same numbers as in two
// passes, so the results are equal to the bit.
#include <ATen/record_function.h>

#include <array>

#include "corrected.h"
#include "reference.h"

using at::Tensor;
using at::TensorList;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;
using namespace sp;

namespace {

using Three = std::array<Tensor, 3>;

// Whether a thread can keep `arrays` arrays of an image's tokens in its caches. What it fetches early would otherwise
// drive out what it needs first.
bool kept_near(const Tensor& tokens, int64_t arrays) {
  constexpr int64_t MOST_BYTES = 5 << 18;
  return arrays * tokens.size(1) * tokens.size(2) * tokens.element_size() <= MOST_BYTES;
}

// Returns the tokens of an image, or none after the last one.
Pass::View up_to_last(const Tensor& tokens, int64_t image) {
  return image < tokens.size(0) ? Pass::view(tokens, image) : Pass::View{};
}

// norm(x) (1 + scale) + shift.
struct Norm {
  Tensor x;
  Vectors shifts, scales;
  bool centered;
  // [2, B, N]: the mean and the reciprocal deviation of each token, which the forward pass leaves to the backward pass.
  Tensor kept;
  Tensor dx, sums;

  Norm(const Three& given, bool centered)
      : x(given[0].contiguous()), shifts(given[1]), scales(given[2]), centered(centered) {}

  void prepare_forward() { kept = at::empty({2, x.size(0), x.size(1)}, x.options().dtype(at::kFloat)); }
  void prepare_backward(const Tensor& stats) {
    kept = stats;
    dx = at::empty_like(x);
    sums = at::zeros({x.size(0), 2, x.size(2)}, stats.options());
  }
  float* stat(int64_t which, int64_t image) const {
    return kept.data_ptr<float>() + which * x.size(0) * x.size(1) + image * x.size(1);
  }
  void make(int64_t image, void* to) const {
    kernels().norm_modulate(storage(x), centered, Pass::view(x, image).data, shifts.of(image), scales.of(image), to,
                            stat(0, image), stat(1, image), x.size(1), x.size(2), float(NORM_EPS));
  }
  void make_again(int64_t image, void* to) const {
    kernels().modulate_again(storage(x), Pass::view(x, image).data, shifts.of(image), scales.of(image), to,
                             stat(0, image), stat(1, image), x.size(1), x.size(2));
  }
  // What the thread needs soon, besides the result of the forward pass, if it takes the image `next` next.
  Pass::Upcoming soon(int64_t image, int64_t next, bool backward) const {
    if (!kept_near(x, backward ? 5 : 3)) return {};
    return {up_to_last(x, next), backward ? Pass::view(dx, image) : Pass::View{}};
  }
  // Where the gradient of the tokens is written.
  void* gradient(int64_t, void* space) const { return space; }
  void back(int64_t image, const void* gradient) const {
    kernels().norm_modulate_backward(storage(x), centered, gradient, Pass::view(x, image).data, scales.of(image),
                                     stat(0, image), stat(1, image), const_cast<void*>(Pass::view(dx, image).data),
                                     sums.data_ptr<float>() + image * 2 * x.size(2), x.size(1), x.size(2));
  }
  Three gradients(const Three& given) const {
    return {dx, like_vector(sums.select(1, 0), given[1]), like_vector(sums.select(1, 1), given[2])};
  }
  static Tensor plain(const Tensor& x, const Tensor& shift, const Tensor& scale, bool centered) {
    return reference_norm_modulate(x, shift, scale, centered);
  }
};

// x + gate m.
struct Sum {
  Tensor x, m;
  Vectors gates;
  Tensor kept;  // nothing
  Tensor dx, dm, sums;

  Sum(const Three& given, bool) : x(given[0].contiguous()), m(given[1].contiguous()), gates(given[2]) {}

  void prepare_forward() {}
  void prepare_backward(const Tensor&) {
    dx = at::empty_like(x);
    dm = at::empty_like(m);
    sums = at::zeros({x.size(0), x.size(2)}, gates.rows.options());
  }
  sp::Gated task(int64_t image, const void* from, void* to) const {
    sp::Gated t{};
    t.x_storage = storage(x);
    t.m_storage = storage(m);
    t.x = from;
    t.m = Pass::view(m, image).data;
    t.gate = gates.of(image);
    t.count = x.size(1);
    t.size = x.size(2);
    t.out = to;
    return t;
  }
  void make(int64_t image, void* to) const { kernels().gated(task(image, Pass::view(x, image).data, to)); }
  void make_again(int64_t image, void* to) const { make(image, to); }
  Pass::Upcoming soon(int64_t image, int64_t next, bool backward) const {
    if (!kept_near(x, backward ? 6 : 5)) return {};
    const Pass::View none{};
    return {up_to_last(x, next), up_to_last(m, next), backward ? Pass::view(dx, image) : none,
            backward ? Pass::view(dm, image) : none};
  }
  // The gradient of the sum is that of x.
  void* gradient(int64_t image, void*) const { return const_cast<void*>(Pass::view(dx, image).data); }
  void back(int64_t image, const void* gradient) const {
    sp::Gated t = task(image, gradient, const_cast<void*>(Pass::view(dm, image).data));
    t.sums = sums.data_ptr<float>() + image * x.size(2);
    kernels().gated_backward(t);
  }
  Three gradients(const Three& given) const { return {dx, dm, like_vector(sums, given[2])}; }
  static Tensor plain(const Tensor& x, const Tensor& m, const Tensor& gate, bool) { return x + gate * m; }
};

// Scratch memory of a thread: that of a slab, then an image's tokens and their gradient.
struct Room {
  float *slab, *tokens, *gradient;

  explicit Room(const Pass& pass) {
    constexpr int64_t LINE = 16;
    const int64_t own = (pass.space() + LINE - 1) / LINE * LINE,
                  image = (pass.tokens * pass.size + LINE - 1) / LINE * LINE;
    slab = scratch(own + 2 * image);
    tokens = slab + own;
    gradient = tokens + image;
  }
};

template <class Source>
struct CorrectedTokens : Function<CorrectedTokens<Source>> {
  // The three tensors are those of the source; see CorrectedAdd for the gains.
  static Tensor forward(AutogradContext* ctx, const Tensor& a, const Tensor& b, const Tensor& c, bool centered,
                        TensorList coefficients, TensorList matrices, const std::vector<Tensor>& gains) {
    Source source({a, b, c}, centered);
    source.prepare_forward();
    const Tensor& x = source.x;
    const Pass pass(x, Tensor(), joined(coefficients, matrices, gains), false);
    Tensor out = at::empty_like(x);
    const int64_t step = at_once(pass.batch);
    share(pass.batch, [&](int64_t image) {
      const Room room(pass);
      source.make(image, room.tokens);
      Pass::Upcoming soon = source.soon(image, image + step, false);
      soon.back() = Pass::view(out, image);
      for (int64_t slab = 0; slab < pass.slabs; ++slab)
        pass.slab(kernels().corrected, image, slab, {nullptr, storage(x)}, {room.tokens, storage(x)}, soon.back(), soon,
                  room.slab, nullptr, nullptr);
    });
    variable_list saved{a, b, c};
    for (const TensorList list : {coefficients, matrices, TensorList(gains)})
      saved.insert(saved.end(), list.begin(), list.end());
    saved.push_back(source.kept);
    ctx->save_for_backward(std::move(saved));
    ctx->saved_data["centered"] = centered;
    ctx->saved_data["corrections"] = int64_t(coefficients.size());
    return out;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto lists = size_t(ctx->saved_data["corrections"].toInt()), count = (saved.size() - 4 - lists) / 2;
    const bool centered = ctx->saved_data["centered"].toBool();
    const TensorList all(saved), gains = all.slice(3 + lists + count, count);
    variable_list found(4 + lists + count + 1);
    if (at::GradMode::is_enabled()) {
      const auto twice = differentiable(all.slice(0, 3 + lists + count).vec(), grads[0], [&](const variable_list& v) {
        const TensorList given(v);
        const Tensor r = Source::plain(v[0], v[1], v[2], centered);
        return reference_corrected(r, r, joined(given.slice(3, lists), given.slice(3 + lists, count), gains));
      });
      std::copy_n(twice.begin(), 3, found.begin());
      std::copy(twice.begin() + 3, twice.end(), found.begin() + 4);
      return found;
    }
    const Three given{saved[0], saved[1], saved[2]};
    Source source(given, centered);
    source.prepare_backward(saved.back());
    const Tensor& x = source.x;
    const Tensor g = grads[0].to(x.scalar_type()).contiguous();
    const auto corrections = joined(all.slice(3, lists), all.slice(3 + lists, count), gains);
    const Pass pass(x, Tensor(), corrections, true);
    const Totals totals(pass);
    const int64_t step = at_once(pass.batch);
    share(pass.batch, [&](int64_t image) {
      const Room room(pass);
      source.make_again(image, room.tokens);
      void* gradient = source.gradient(image, room.gradient);
      const Pass::Upcoming soon = source.soon(image, image + step, true);
      for (int64_t slab = 0; slab < pass.slabs; ++slab)
        pass.slab(kernels().corrected_backward, image, slab, Pass::view(g, image), {room.tokens, storage(x)},
                  {gradient, storage(x)}, soon, room.slab, totals.of_sums(), totals.of_matrices());
      source.back(image, gradient);
    });
    const Three made = source.gradients(given);
    std::copy(made.begin(), made.end(), found.begin());
    totals.write(totals.sums, corrections, &found[4]);
    return found;
  }
};

// Whether there are images for all threads, and so many that the operators in two passes would not split an image:
// sums would have another order.
bool worthwhile(const Tensor& x) { return x.size(0) >= std::max<int64_t>(LEAST_TASKS, at::get_num_threads()); }

}  // namespace

namespace sp {

Tensor norm_modulate_corrected(const Tensor& x, const Tensor& shift, const Tensor& scale, bool centered,
                               const std::vector<Correction>& corrections) {
  if (usable(x) && x.dim() == 3 && is_vector(shift, x) && is_vector(scale, x) && worthwhile(x)) {
    RECORD_FUNCTION("spectral::norm_modulate", c10::ArrayRef<const c10::IValue>{});
    const Listed l(x, corrections);
    if (l.fits)
      return CorrectedTokens<Norm>::apply(x, shift, scale, centered, TensorList(l.coefficients), TensorList(l.matrices),
                                          l.gains);
  }
  return gated_add_corrected(Tensor(), norm_modulate(x, shift, scale, centered), Tensor(), corrections);
}

Tensor stream_corrected(const Tensor& x, const Tensor& m, const Tensor& gate,
                        const std::vector<Correction>& corrections) {
  if (usable(x) && usable(m) && x.dim() == 3 && x.sizes() == m.sizes() && is_vector(gate, x) && worthwhile(x)) {
    RECORD_FUNCTION("spectral::gated_add", c10::ArrayRef<const c10::IValue>{});
    const Listed l(x, corrections);
    if (l.fits)
      return CorrectedTokens<Sum>::apply(x, m, gate, false, TensorList(l.coefficients), TensorList(l.matrices),
                                         l.gains);
  }
  return gated_add_corrected(Tensor(), gated_add(x, m, gate), Tensor(), corrections);
}

}  // namespace sp
