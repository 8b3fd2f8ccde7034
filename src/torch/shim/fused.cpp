// Operators that read and write each token once: the glue between libtorch and the loops of kernels.cpp. That of the
// corrections is in corrected.cpp.
//
// Each has the same operator written with libtorch's own ones. That form is taken where the loops do not apply
// (CUDA, float64, odd layouts), when they are switched off, and for gradients of gradients.
#include "fused.h"

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/autocast_mode.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "device.h"
#include "plain.h"
#include "tasks.h"

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;
using namespace sp;

// ------------------------------------------------------------------ which loops
namespace sp {

const Kernels& kernels() {
#if defined(__x86_64__)
  static const Kernels& best =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")
          ? kernels_avx512()
      : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? kernels_avx2()
                                                                        : kernels_base();
  return best;
#else
  return kernels_base();
#endif
}

static thread_local bool on_this_thread = true;
bool switched_on() { return on_this_thread; }
bool switch_fused(bool on) { return std::exchange(on_this_thread, on); }
const char* loops() { return kernels().name; }

}  // namespace sp

namespace {

// How many parts each of `count` images is cut into; it depends on the shape alone, so that sums are added in one
// order whatever the number of threads.
int64_t cuts(int64_t count, int64_t rows) {
  return std::clamp<int64_t>((16 + count - 1) / std::max<int64_t>(count, 1), 1, std::max<int64_t>(rows, 1));
}

// ------------------------------------------------------------------ layer norm and modulation
struct NormModulate : Function<NormModulate> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_given, const Tensor& shift, const Tensor& scale) {
    const Tensor x = x_given.contiguous();
    const int64_t batch = x.size(0), tokens = x.size(1), size = x.size(2), parts = cuts(batch, tokens);
    const Tensor shifts = vectors(shift, batch, size), scales = vectors(scale, batch, size);
    Tensor y = at::empty_like(x), stats = at::empty({2, batch * tokens}, x.options().dtype(at::kFloat));
    const auto kind = storage(x);
    const int64_t bytes = x.element_size();
    auto* from = static_cast<const char*>(x.const_data_ptr());
    auto* to = static_cast<char*>(y.data_ptr());
    auto *mean = stats.data_ptr<float>(), *rstd = mean + batch * tokens;
    auto *a = shifts.data_ptr<float>(), *b = scales.data_ptr<float>();
    share(batch * parts, [&](int64_t task) {
      const int64_t image = task / parts, part = task % parts;
      const int64_t first = part * tokens / parts, last = (part + 1) * tokens / parts, row = image * tokens + first;
      kernels().norm_modulate(kind, from + row * size * bytes, a + image * size, b + image * size,
                              to + row * size * bytes, mean + row, rstd + row, last - first, size, float(NORM_EPS));
    });
    ctx->save_for_backward({x, shift, scale, stats});
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &shift = saved[1], &scale = saved[2], &stats = saved[3];
    if (at::GradMode::is_enabled())
      return differentiable({x, shift, scale}, grads[0],
                            [](const variable_list& v) { return plain_norm_modulate(v[0], v[1], v[2]); });
    const Tensor dy = grads[0].to(x.scalar_type()).contiguous();
    const int64_t batch = x.size(0), tokens = x.size(1), size = x.size(2), parts = cuts(batch, tokens);
    const Tensor scales = vectors(scale, batch, size);
    Tensor dx = at::empty_like(x), sums = at::zeros({batch, parts, 2, size}, scales.options());
    const auto kind = storage(x);
    const int64_t bytes = x.element_size();
    auto *g = static_cast<const char*>(dy.const_data_ptr()), *from = static_cast<const char*>(x.const_data_ptr());
    auto* to = static_cast<char*>(dx.data_ptr());
    auto *mean = stats.data_ptr<float>(), *rstd = mean + batch * tokens;
    auto *b = scales.data_ptr<float>(), *total = sums.data_ptr<float>();
    share(batch * parts, [&](int64_t task) {
      const int64_t image = task / parts, part = task % parts;
      const int64_t first = part * tokens / parts, last = (part + 1) * tokens / parts, row = image * tokens + first;
      kernels().norm_modulate_backward(kind, g + row * size * bytes, from + row * size * bytes, b + image * size,
                                       mean + row, rstd + row, to + row * size * bytes, total + task * 2 * size,
                                       last - first, size);
    });
    const Tensor all = parts == 1 ? sums.squeeze(1) : sums.sum(1);
    return {dx, like_vector(all.select(1, 0), shift), like_vector(all.select(1, 1), scale)};
  }
};

// ------------------------------------------------------------------ gated residual
// Runs a kernel, forward or backward, for each part of each image; x is the gradient in a backward pass.
template <class Kernel>
void each_part(const Tensor& x, const Tensor& m, const Tensor& gates, const Tensor& out, float* sums, Kernel kernel) {
  const int64_t batch = x.size(0), tokens = x.size(1), size = x.size(2), parts = cuts(batch, tokens);
  const auto *xs = static_cast<const char*>(x.const_data_ptr()), *ms = static_cast<const char*>(m.const_data_ptr());
  auto* outs = static_cast<char*>(out.data_ptr());
  const float* gate = gates.data_ptr<float>();
  share(batch * parts, [&](int64_t task) {
    const int64_t image = task / parts, part = task % parts;
    const int64_t first = part * tokens / parts, last = (part + 1) * tokens / parts;
    const int64_t at = (image * tokens + first) * size;
    sp::Gated t{};
    t.x_storage = storage(x);
    t.m_storage = storage(m);
    t.x = xs + at * x.element_size();
    t.m = ms + at * m.element_size();
    t.out = outs + at * out.element_size();
    t.gate = gate + image * size;
    t.size = size;
    t.count = last - first;
    t.sums = sums ? sums + task * size : nullptr;
    kernel(t);
  });
}

struct GatedAdd : Function<GatedAdd> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_given, const Tensor& m, const Tensor& gate) {
    const Tensor x = x_given.contiguous();
    Tensor out = at::empty_like(x);
    each_part(x, m.contiguous(), vectors(gate, x.size(0), x.size(2)), out, nullptr, kernels().gated);
    ctx->save_for_backward({m, gate});
    // Needed for its dtype alone, and for gradients of gradients.
    ctx->saved_data["x"] = int64_t(x.scalar_type());
    return out;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &m_given = saved[0], &gate = saved[1];
    const Tensor whole = grads[0].to(at::ScalarType(ctx->saved_data["x"].toInt()));
    if (at::GradMode::is_enabled()) {
      const auto found = differentiable({m_given, gate}, whole, [&](const variable_list& v) { return v[1] * v[0]; });
      return {whole, found[0], found[1]};
    }
    const Tensor g = whole.contiguous(), m = m_given.contiguous();
    const int64_t batch = g.size(0), size = g.size(2), parts = cuts(batch, g.size(1));
    const Tensor gates = vectors(gate, batch, size);
    Tensor dm = at::empty_like(m), sums = at::zeros({batch, parts, size}, gates.options());
    each_part(g, m, gates, dm, sums.data_ptr<float>(), kernels().gated_backward);
    return {whole, dm, like_vector(parts == 1 ? sums.squeeze(1) : sums.sum(1), gate)};
  }
};

// ------------------------------------------------------------------ attention of packed queries, keys and values
// Normalised queries and keys [2, B, N, D] of packed ones.
Tensor normalised(const Tensor& qkv, const Tensor& q_weight, const Tensor& k_weight, int64_t heads) {
  const int64_t batch = qkv.size(0), tokens = qkv.size(1), hidden = qkv.size(2) / 3, size = hidden / heads;
  Tensor both = at::empty({2, batch, tokens, hidden}, qkv.options());
  auto *q = both.data_ptr<float>(), *k = q + batch * tokens * hidden;
  auto* from = qkv.const_data_ptr<float>();
  const Tensor qw = q_weight.contiguous(), kw = k_weight.contiguous();
  auto *a = qw.const_data_ptr<float>(), *b = kw.const_data_ptr<float>();
  const int64_t rows = batch * tokens, chunk = 64;
  share((rows + chunk - 1) / chunk, [&](int64_t task) {
    const int64_t first = task * chunk, count = std::min(chunk, rows - first);
    kernels().qk_norm(from + first * 3 * hidden, a, b, q + first * hidden, k + first * hidden, count, heads, size,
                      RMS_EPS);
  });
  return both;
}

// Runs a kernel for each head of each image; `more` completes its task, given where the head's numbers begin.
template <class Kernel, class More>
void each_head(const Tensor& qkv, const Tensor& both, int64_t heads, bool backward, const Tensor& log_sums,
               Kernel kernel, More&& more) {
  const int64_t batch = qkv.size(0), tokens = qkv.size(1), hidden = qkv.size(2) / 3, size = hidden / heads;
  const float *q = both.const_data_ptr<float>(), *k = q + batch * tokens * hidden;
  const float* v = qkv.const_data_ptr<float>() + 2 * hidden;
  float* sums = log_sums.data_ptr<float>();
  const auto needed = size_t(kernels().attention_scratch(tokens, size, backward));
  share(batch * heads, [&](int64_t task) {
    static thread_local std::vector<float> scratch;
    if (scratch.size() < needed) scratch.resize(needed);
    const int64_t image = task / heads, head = task % heads, at = image * tokens * hidden + head * size;
    sp::Attention t{};
    t.q = q + at;
    t.k = k + at;
    t.v = v + 3 * image * tokens * hidden + head * size;
    t.count = tokens;
    t.size = size;
    t.stride = hidden;
    t.v_stride = 3 * hidden;
    t.log_sums = sums + task * tokens;
    t.scratch = scratch.data();
    more(t, at);
    kernel(t);
  });
}

struct Attend : Function<Attend> {
  static Tensor forward(AutogradContext* ctx, const Tensor& qkv_given, const Tensor& q_weight, const Tensor& k_weight,
                        int64_t heads) {
    const Tensor qkv = qkv_given.contiguous();
    const int64_t batch = qkv.size(0), tokens = qkv.size(1), hidden = qkv.size(2) / 3;
    const Tensor both = normalised(qkv, q_weight, k_weight, heads);
    Tensor mixed = at::empty({batch, tokens, hidden}, qkv.options());
    Tensor log_sums = at::empty({batch, heads, tokens}, qkv.options());
    auto* out = mixed.data_ptr<float>();
    each_head(qkv, both, heads, false, log_sums, kernels().attention,
              [&](sp::Attention& t, int64_t at) { t.out = out + at; });
    ctx->saved_data["heads"] = heads;
    // Queries and keys are computed again rather than kept.
    ctx->save_for_backward({qkv, q_weight, k_weight, mixed, log_sums});
    return mixed;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &qkv = saved[0], &q_weight = saved[1], &k_weight = saved[2], &mixed = saved[3], &log_sums = saved[4];
    const int64_t heads = ctx->saved_data["heads"].toInt();
    if (at::GradMode::is_enabled()) {
      auto found = differentiable({qkv, q_weight, k_weight}, grads[0], [&](const variable_list& v) {
        return plain_attend(v[0], v[1], v[2], heads, true);
      });
      return {found[0], found[1], found[2], Tensor()};
    }
    const int64_t batch = qkv.size(0), tokens = qkv.size(1), hidden = qkv.size(2) / 3, size = hidden / heads;
    const Tensor both = normalised(qkv, q_weight, k_weight, heads), dmixed = grads[0].contiguous();
    Tensor back = at::empty({3, batch, tokens, hidden}, qkv.options());
    auto *gq = back.data_ptr<float>(), *gk = gq + qkv.numel() / 3, *gv = gk + qkv.numel() / 3;
    auto* out = const_cast<float*>(mixed.const_data_ptr<float>());
    auto* grad = dmixed.const_data_ptr<float>();
    each_head(qkv, both, heads, true, log_sums, kernels().attention_backward, [&](sp::Attention& t, int64_t at) {
      t.out = out + at;
      t.grad = grad + at;
      t.dq = gq + at;
      t.dk = gk + at;
      t.dv = gv + at;
    });
    Tensor dqkv = at::empty_like(qkv);
    const Tensor qw = q_weight.contiguous(), kw = k_weight.contiguous();
    const int64_t rows = batch * tokens, parts = std::min<int64_t>(16, rows);
    Tensor sums = at::zeros({parts, 2, size}, qkv.options());
    auto *from = qkv.const_data_ptr<float>(), *a = qw.const_data_ptr<float>(), *b = kw.const_data_ptr<float>();
    auto *to = dqkv.data_ptr<float>(), *total = sums.data_ptr<float>();
    share(parts, [&](int64_t task) {
      const int64_t first = task * rows / parts, count = (task + 1) * rows / parts - first, at = first * hidden;
      kernels().qk_norm_backward(from + 3 * at, a, b, gq + at, gk + at, gv + at, to + 3 * at, total + task * 2 * size,
                                 count, heads, size, RMS_EPS);
    });
    const Tensor all = sums.sum(0);
    return {dqkv, all[0], all[1], Tensor()};
  }
};

// ------------------------------------------------------------------ feed-forward
// Which library multiplies. libtorch hands float32 products to MKL and float32 convolutions to oneDNN, on more than
// one thread. oneDNN is a little faster with AVX2, and three times with AVX-512 on processors that are not Intel's; but
// its gradient of the weights takes three times as long as MKL's without AVX-512.
//
// So a linear map is a convolution with a kernel of one pixel: tokens [B, N, D] are one image [1, D, B, N] whose
// channels lie last, and nothing is copied.
bool convolves() { return at::get_num_threads() > 1; }
bool convolves_weights() {
  static const bool wide = &kernels() == &kernels_avx512();
  return convolves() && wide;
}

Tensor as_image(const Tensor& x) { return x.unsqueeze(0).permute({0, 3, 1, 2}); }
Tensor from_image(const Tensor& image) { return image.permute({0, 2, 3, 1}).squeeze(0); }
Tensor as_kernel(const Tensor& weight) { return weight.view({weight.size(0), weight.size(1), 1, 1}); }

Tensor product(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (!convolves()) return at::linear(x, weight, bias);
  return from_image(at::conv2d(as_image(x), as_kernel(weight), bias));
}

std::tuple<Tensor, Tensor, Tensor> convolution_backward(const Tensor& g, const Tensor& x, const Tensor& weight,
                                                        std::array<bool, 3> wanted) {
  return at::convolution_backward(as_image(g), as_image(x), as_kernel(weight), at::IntArrayRef{weight.size(0)}, {1, 1},
                                  {0, 0}, {1, 1}, false, {0, 0}, 1, wanted);
}
// `x` lends its shape alone.
Tensor gradient_of_input(const Tensor& g, const Tensor& x, const Tensor& weight) {
  if (!convolves()) return g.matmul(weight);
  return from_image(std::get<0>(convolution_backward(g, x, weight, {true, false, false}))).contiguous();
}
std::array<Tensor, 2> gradients_of_weight_and_bias(const Tensor& g, const Tensor& x, const Tensor& weight) {
  if (convolves_weights()) {
    const auto back = convolution_backward(g, x, weight, {false, true, true});
    return {std::get<1>(back).reshape(weight.sizes()), std::get<2>(back)};
  }
  const Tensor rows = g.flatten(0, 1);
  return {rows.t().mm(x.flatten(0, 1)), rows.sum(0)};
}

bool takes_product(const Tensor& x, const Tensor& weight) {
  return x.is_cpu() && x.dim() == 3 && x.numel() > 0 && x.scalar_type() == at::kFloat &&
         weight.scalar_type() == at::kFloat && weight.is_contiguous() && !at::autocast::is_autocast_enabled(at::kCPU);
}

struct Linear : Function<Linear> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_given, const Tensor& weight, const Tensor& bias) {
    const Tensor x = x_given.contiguous();
    ctx->save_for_backward({x, weight, bias});
    return product(x, weight, bias);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &bias = saved[2];
    if (at::GradMode::is_enabled())
      return differentiable({x, weight, bias}, grads[0],
                            [](const variable_list& v) { return at::linear(v[0], v[1], v[2]); });
    const Tensor g = grads[0].contiguous();
    variable_list found(3);
    if (ctx->needs_input_grad(0)) found[0] = gradient_of_input(g, x, weight);
    if (ctx->needs_input_grad(1) || ctx->needs_input_grad(2)) {
      const auto both = gradients_of_weight_and_bias(g, x, weight);
      found[1] = both[0];
      found[2] = both[1];
    }
    return found;
  }
};

constexpr int64_t CHUNK = 1 << 14;

struct Mlp : Function<Mlp> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_given, const Tensor& w1, const Tensor& b1,
                        const Tensor& w2, const Tensor& b2, bool kept) {
    const Tensor x = x_given.contiguous();
    Tensor h = product(x, w1, b1);
    // Where no gradient is wanted, the inner layer is overwritten.
    const Tensor a = kept ? at::empty_like(h) : h;
    auto *from = h.const_data_ptr<float>();
    auto *to = a.data_ptr<float>();
    const int64_t count = h.numel();
    share((count + CHUNK - 1) / CHUNK, [&](int64_t task) {
      const int64_t first = task * CHUNK;
      kernels().gelu(from + first, to + first, std::min(CHUNK, count - first));
    });
    ctx->save_for_backward({x, kept ? h : Tensor(), w1, b1, w2, b2});
    return product(a, w2, b2);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &h = saved[1], &w1 = saved[2], &b1 = saved[3], &w2 = saved[4], &b2 = saved[5];
    if (at::GradMode::is_enabled()) {
      auto found = differentiable({x, w1, b1, w2, b2}, grads[0], [](const variable_list& v) {
        return plain_mlp(v[0], v[1], v[2], v[3], v[4]);
      });
      found.emplace_back();
      return found;
    }
    const Tensor g = grads[0].contiguous();
    // The activation is computed again rather than kept: it is cheap, and four times as large as a token.
    Tensor a = at::empty_like(h);
    const Tensor da = gradient_of_input(g, h, w2);
    auto *from = h.const_data_ptr<float>();
    auto *slope = da.data_ptr<float>(), *to = a.data_ptr<float>();
    const int64_t count = h.numel();
    share((count + CHUNK - 1) / CHUNK, [&](int64_t task) {
      const int64_t first = task * CHUNK;
      kernels().gelu_backward(from + first, slope + first, to + first, std::min(CHUNK, count - first));
    });
    const auto outer = gradients_of_weight_and_bias(g, a, w2);
    a.reset();
    const auto inner = gradients_of_weight_and_bias(da, x, w1);
    const Tensor dx = ctx->needs_input_grad(0) ? gradient_of_input(da, x, w1) : Tensor();
    return {dx, inner[0], inner[1], outer[0], outer[1], Tensor()};
  }
};

}  // namespace

// ------------------------------------------------------------------ the operators
namespace sp {

Tensor norm_modulate(const Tensor& x, const Tensor& shift, const Tensor& scale) {
  RECORD_FUNCTION("spectral::norm_modulate", c10::ArrayRef<const c10::IValue>{});
  if (switched_on())
    if (auto y = device::norm_modulate(x, shift, scale)) return *y;
  if (usable(x) && x.dim() == 3 && is_vector(shift, x) && is_vector(scale, x))
    return NormModulate::apply(x, shift, scale);
  return plain_norm_modulate(x, shift, scale);
}

Tensor gated_add(const Tensor& x, const Tensor& m, const Tensor& gate) {
  RECORD_FUNCTION("spectral::gated_add", c10::ArrayRef<const c10::IValue>{});
  if (switched_on())
    if (auto y = device::gated_add(x, m, gate, Tensor(), Tensor())) return *y;
  const bool same = x.dim() == 3 && x.sizes() == m.sizes();
  return usable(x) && usable(m) && same && is_vector(gate, x) ? GatedAdd::apply(x, m, gate) : x + gate * m;
}

Tensor attend(const Tensor& qkv, const Tensor& q_weight, const Tensor& k_weight, int64_t heads) {
  RECORD_FUNCTION("spectral::attend", c10::ArrayRef<const c10::IValue>{});
  if (switched_on())
    if (auto y = device::attend(qkv, q_weight, k_weight, heads)) return *y;
  const bool float32 = qkv.scalar_type() == at::kFloat && q_weight.scalar_type() == at::kFloat &&
                       k_weight.scalar_type() == at::kFloat && !at::autocast::is_autocast_enabled(at::kCPU);
  return usable(qkv) && float32 ? Attend::apply(qkv, q_weight, k_weight, heads)
                                : plain_attend(qkv, q_weight, k_weight, heads);
}

Tensor mlp(const Tensor& x, const Tensor& w1, const Tensor& b1, const Tensor& w2, const Tensor& b2) {
  RECORD_FUNCTION("spectral::mlp", c10::ArrayRef<const c10::IValue>{});
  if (switched_on())
    if (auto y = device::mlp(x, w1, b1, w2, b2)) return *y;
  if (!switched_on() || !takes_product(x, w1) || !takes_product(x, w2)) return plain_mlp(x, w1, b1, w2, b2);
  bool kept = false;
  if (at::GradMode::is_enabled())
    for (const Tensor* t : {&x, &w1, &b1, &w2, &b2}) kept = kept || t->requires_grad();
  return Mlp::apply(x, w1, b1, w2, b2, kept);
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (switched_on())
    if (auto y = device::linear(x, weight, bias)) return *y;
  return switched_on() && takes_product(x, weight) ? Linear::apply(x, weight, bias) : at::linear(x, weight, bias);
}

}  // namespace sp
