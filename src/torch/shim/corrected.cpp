// The gated residual with corrections by linear filters: the glue between libtorch and the loops of filters.h.
//
// The gate is one number per channel, so it moves in front of the filter: F(gate m) = gate F(m). Backward, the filtered
// gradient gives the gradients of m, gate and coefficients alike, since the sum of G F(m) is that of F^T(G) m. All
// sums are added in an order that follows from the shape alone.
#include <ATen/record_function.h>

#include <deque>
#include <utility>
#include <vector>

#include "device.h"
#include "fused.h"
#include "plain.h"
#include "tasks.h"

using at::Tensor;
using at::TensorList;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;
using namespace sp;

namespace {

// ------------------------------------------------------------------ matrices as the loops read them
// The runs of entries of each row.
struct Runs {
  std::vector<int32_t> start, length;

  Runs(const float* values, int64_t rows, int64_t columns) {
    for (int64_t i = 0; i < rows; ++i, values += columns) {
      int64_t first = 0, last = columns;
      while (last > first && values[last - 1] == 0) --last;
      while (first < last && values[first] == 0) ++first;
      start.push_back(int32_t(first));
      length.push_back(int32_t(last - first));
    }
  }
};

struct Packed {
  std::vector<Strip> strips;
  std::vector<float> weights;

  // Rows share a strip, where columns are read once for all, unless that would add many zeros.
  Packed(const float* values, int64_t rows, int64_t columns) {
    const Runs runs(values, rows, columns);
    int32_t entries = 0;
    for (int32_t i = 0; i < rows; ++i) {
      const int32_t first = runs.start[i], length = runs.length[i];
      if (!strips.empty()) {
        Strip& open = strips.back();
        const int32_t start = std::min(first, open.start);
        const int32_t wide = std::max(first + length, open.start + open.length) - start;
        if (open.rows < STRIP && 4 * wide * (open.rows + 1) <= 5 * (entries + length)) {
          open.start = start;
          open.length = wide;
          ++open.rows;
          entries += length;
          continue;
        }
      }
      strips.push_back({i, 1, first, length, nullptr});
      entries = length;
    }
    size_t total = 0;
    for (const Strip& s : strips) total += size_t(s.length) * STRIP;
    weights.resize(total);
    float* to = weights.data();
    for (Strip& s : strips) {
      s.weights = to;
      for (int32_t j = s.start; j < s.start + s.length; ++j, to += STRIP)
        for (int32_t r = 0; r < s.rows; ++r) to[r] = values[(s.row + r) * columns + j];
    }
  }
  Strips view() const { return {strips.data(), int64_t(strips.size())}; }
};

Packed packed(const Tensor& matrix, bool turned) {
  const Tensor dense = (turned ? matrix.t() : matrix).contiguous();
  return Packed(dense.const_data_ptr<float>(), dense.size(0), dense.size(1));
}

// Q [K, G] as float32.
Tensor flat(const Tensor& matrix) {
  return matrix.detach().to(at::kFloat).reshape({matrix.size(-2), matrix.size(-1)}).contiguous();
}

// Q for the sums and differences of opposite tokens, or nothing unless even rows come first and all others are odd.
Tensor folded(const Tensor& basis) {
  const int64_t kept = basis.size(0), grid = basis.size(1), half = grid / 2, even = grid - half;
  Tensor result = at::zeros_like(basis);
  const float* from = basis.const_data_ptr<float>();
  float* to = result.data_ptr<float>();
  bool odd = false;
  for (int64_t k = 0; k < kept; ++k, from += grid, to += grid) {
    const auto reflects = [&](float sign) {
      for (int64_t j = 0; j < even; ++j)
        if (std::abs(from[j] - sign * from[grid - 1 - j]) > 1e-6f) return false;
      return true;
    };
    odd = odd || !reflects(1);
    if (odd && !reflects(-1)) return Tensor();
    std::copy_n(from, odd ? half : even, odd ? to + even : to);
  }
  return result;
}

// ------------------------------------------------------------------ one pass, forward or backward
struct Pass {
  Tensor x, m, whole, parts;  // x is the gradient in a backward pass
  Vectors gates;
  // Loops point into these, which do not move.
  std::deque<Packed> matrices;
  std::deque<Runs> runs;
  std::vector<Tensor> gains;
  bool trained = false;
  std::vector<Filter> filters;
  int64_t batch, tokens, size, grid, slabs;

  Pass(const Tensor& x_given, const Tensor& m_given, const Tensor& gate, const std::vector<Correction>& corrections,
       bool backward)
      : x(x_given.contiguous()),
        m(m_given.contiguous()),
        gates(gate),
        batch(x.size(0)),
        tokens(x.size(1)),
        size(x.size(2)) {
    grid = corrections[0].matrix.size(-1);
    slabs = (size + SLAB - 1) / SLAB;
    const auto count = int64_t(corrections.size());
    whole = at::ones({batch}, gates.rows.options());
    parts = at::empty({batch, count}, gates.rows.options());
    auto *wholes = whole.data_ptr<float>(), *factors = parts.data_ptr<float>();
    for (int64_t k = 0; k < count; ++k) {
      const Correction& c = corrections[size_t(k)];
      const Tensor both = c.coefficients.detach().to(at::kFloat).contiguous();
      const float* pair = both.const_data_ptr<float>();
      for (int64_t image = 0; image < batch; ++image, pair += 2) {
        wholes[image] += pair[1];
        factors[image * count + k] = pair[0] - pair[1];
      }
      add(c, backward);
    }
  }

  void add(const Correction& c, bool backward) {
    Filter filter{};
    const Tensor matrix = flat(c.matrix);
    if (c.gains.defined()) {
      const Tensor half = folded(matrix);
      matrices.push_back(packed(half, false));
      filter.forth = matrices.back().view();
      matrices.push_back(packed(half, true));
      filter.back = matrices.back().view();
      gains.push_back(c.gains.detach().to(at::kFloat).contiguous());
      filter.gains = gains.back().const_data_ptr<float>();
      filter.kept = matrix.size(0);
    } else {
      matrices.push_back(packed(matrix, backward));
      filter.forth = matrices.back().view();
      if (backward && c.matrix.requires_grad()) {
        trained = true;
        runs.emplace_back(matrix.const_data_ptr<float>(), matrix.size(0), matrix.size(1));
        filter.start = runs.back().start.data();
        filter.length = runs.back().length.data();
      }
    }
    filters.push_back(filter);
  }

  template <class Kernel>
  void run(Kernel kernel, const Tensor& out, float* sums, float* gradients) {
    const auto *xs = static_cast<const char*>(x.const_data_ptr()), *ms = static_cast<const char*>(m.const_data_ptr());
    auto* outs = static_cast<char*>(out.data_ptr());
    const auto *wholes = whole.const_data_ptr<float>(), *factors = parts.const_data_ptr<float>();
    const auto count = int64_t(filters.size());
    const int64_t needed = kernels().corrected_scratch(grid, count);
    share(batch * slabs, [&](int64_t task) {
      const int64_t image = task / slabs, first = task % slabs * SLAB, at = image * tokens * size + first;
      Slab t{};
      t.x_storage = storage(x);
      t.m_storage = storage(m);
      t.x = xs + at * x.element_size();
      t.m = ms + at * m.element_size();
      t.out = outs + at * out.element_size();
      t.gate = gates.of(image) + first;
      t.filters = filters.data();
      t.count = count;
      t.whole = wholes[image];
      t.parts = factors + image * count;
      t.grid = grid;
      t.size = std::min(SLAB, size - first);
      t.stride = size;
      t.scratch = scratch(needed);
      t.sums = sums ? sums + image * (1 + count) * size + first : nullptr;
      t.matrices = gradients ? gradients + task * count * tokens : nullptr;
      kernel(t);
    });
  }
};

// The sum of arrays [count, ..], one after another.
Tensor in_order(const Tensor& arrays) {
  Tensor total = arrays[0].clone();
  const int64_t size = total.numel();
  auto* to = total.data_ptr<float>();
  auto* from = arrays.const_data_ptr<float>();
  for (int64_t i = 1; i < arrays.size(0); ++i)
    for (int64_t j = 0; j < size; ++j) to[j] += from[i * size + j];
  return total;
}

std::vector<Correction> joined(TensorList coefficients, TensorList matrices, TensorList gains) {
  std::vector<Correction> all;
  for (size_t k = 0; k < coefficients.size(); ++k) all.push_back({coefficients[k], matrices[k], gains[k]});
  return all;
}

struct CorrectedAdd : Function<CorrectedAdd> {
  // Gains take no gradient, so they come as what autograd does not look at.
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& m, const Tensor& gate,
                        TensorList coefficients, TensorList matrices, const std::vector<Tensor>& gains) {
    Pass pass(x, m, gate, joined(coefficients, matrices, gains), false);
    Tensor out = at::empty_like(pass.x);
    pass.run(kernels().corrected, out, nullptr, nullptr);
    variable_list kept{m, gate};
    for (const TensorList list : {coefficients, matrices, TensorList(gains)})
      kept.insert(kept.end(), list.begin(), list.end());
    ctx->save_for_backward(std::move(kept));
    // Needed for its dtype alone, and for gradients of gradients.
    ctx->saved_data["x"] = int64_t(x.scalar_type());
    return out;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const size_t count = (saved.size() - 2) / 3;
    const TensorList all(saved), gains = all.slice(2 + 2 * count, count);
    const Tensor &m = saved[0], &gate = saved[1];
    const Tensor whole = grads[0].to(at::ScalarType(ctx->saved_data["x"].toInt()));
    if (at::GradMode::is_enabled()) {
      // x takes part by addition, so zeros do in its place.
      const Tensor zeros = at::zeros_like(m, whole.options());
      auto found = differentiable(all.slice(0, 2 + 2 * count).vec(), whole, [&](const variable_list& v) {
        const TensorList given(v);
        const Tensor r = v[1] * v[0];
        return plain_corrected(zeros + r, r, joined(given.slice(2, count), given.slice(2 + count, count), gains));
      });
      found.insert(found.begin(), whole);
      found.emplace_back();
      return found;
    }
    const auto corrections = joined(all.slice(2, count), all.slice(2 + count, count), gains);
    Pass pass(whole, m, gate, corrections, true);
    Tensor dm = at::empty_like(pass.m);
    Tensor sums = at::zeros({pass.batch, int64_t(1 + count), pass.size}, pass.gates.rows.options()), gradients;
    if (pass.trained)
      gradients = at::zeros({pass.batch * pass.slabs, int64_t(count), pass.grid, pass.grid}, sums.options());
    pass.run(kernels().corrected_backward, dm, sums.data_ptr<float>(),
             pass.trained ? gradients.data_ptr<float>() : nullptr);
    const Tensor plain = sums.select(1, 0), total = (pass.gates.rows * plain).sum(1);
    const Tensor matrices = pass.trained ? in_order(gradients) : Tensor();
    Tensor dgate = plain * pass.whole.unsqueeze(1);
    variable_list found(3 + 2 * count + 1);
    for (size_t k = 0; k < count; ++k) {
      const auto& c = corrections[k];
      const Tensor smooth = sums.select(1, int64_t(1 + k)), low = (pass.gates.rows * smooth).sum(1);
      dgate = dgate + smooth * pass.parts.select(1, int64_t(k)).unsqueeze(1);
      found[3 + k] = at::stack({low, total - low}, 1).to(c.coefficients.scalar_type());
      if (c.matrix.requires_grad())
        found[3 + count + k] = matrices[int64_t(k)].reshape(c.matrix.sizes()).to(c.matrix.scalar_type());
    }
    found[0] = whole;
    found[1] = dm;
    found[2] = like_vector(dgate, gate);
    return found;
  }
};

// Whether the loops take a filter of a grid of `tokens` tokens.
bool fits(const Correction& c, const Tensor& x) {
  const Tensor &k = c.coefficients, &m = c.matrix;
  if (!k.is_cpu() || !stored(k) || k.dim() != 2 || k.size(0) != x.size(0) || k.size(1) != 2) return false;
  if (!m.is_cpu() || !stored(m) || m.dim() != 3 || m.size(0) != 1 || m.size(2) * m.size(2) != x.size(1)) return false;
  if (!c.gains.defined()) return m.size(1) == m.size(2);
  return c.gains.is_cpu() && stored(c.gains) && c.gains.numel() == m.size(1) * m.size(1) && !m.requires_grad() &&
         !c.gains.requires_grad() && folded(flat(m)).defined();
}

}  // namespace

namespace sp {

Tensor gated_add_corrected(const Tensor& x, const Tensor& m, const Tensor& gate,
                           const std::vector<Correction>& corrections) {
  if (corrections.empty()) return gated_add(x, m, gate);
  RECORD_FUNCTION("spectral::gated_add", c10::ArrayRef<const c10::IValue>{});
  if (const auto& c = corrections[0]; switched_on() && corrections.size() == 1 && !c.gains.defined())
    if (auto y = device::gated_add(x, m, gate, c.coefficients, c.matrix)) return *y;
  bool all = usable(x) && usable(m) && x.dim() == 3 && x.sizes() == m.sizes() && is_vector(gate, x);
  variable_list coefficients, matrices, gains;
  for (const Correction& c : corrections) {
    all = all && fits(c, x);
    coefficients.push_back(c.coefficients);
    matrices.push_back(c.matrix);
    gains.push_back(c.gains);
  }
  if (all) return CorrectedAdd::apply(x, m, gate, TensorList(coefficients), TensorList(matrices), gains);
  return plain_corrected(gated_add(x, m, gate), gate * m, corrections);
}

}  // namespace sp
