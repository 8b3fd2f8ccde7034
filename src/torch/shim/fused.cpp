// Operators that read and write each token once: connects libtorch to the CPU operators of kernels.cpp. The
// corrections are in corrected.cpp and corrected_tokens.cpp.
//
// Each has a reference implementation in libtorch's operators, which is used when the CPU operators do not apply
// (CUDA, float64, odd layouts), when they are switched off, and for second-order gradients.
#include "fused.h"

#include <ATen/Functions.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "device.h"
#include "reference.h"
#include "tasks.h"

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;
using namespace sp;

// ------------------------------------------------------------------ choice of the instruction set
namespace sp {

// Returns the best CPU operators that the processor can run. SPECTRAL_LOOPS selects lesser ones, `base` or `avx2`,
// so that one machine can test all of them.
static const Kernels& best_cpu_operators() {
#if defined(__x86_64__)
  const char* name = std::getenv("SPECTRAL_LOOPS");
  const std::string_view wanted = name ? name : "";
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl");
  if (avx512 && wanted != "avx2" && wanted != "base") return kernels_avx512();
  if (avx2 && wanted != "base") return kernels_avx2();
#endif
  return kernels_base();
}
const Kernels& kernels() {
  static const Kernels& best = best_cpu_operators();
  return best;
}

static thread_local bool on_this_thread = true;
bool switched_on() { return on_this_thread; }
bool switch_fused(bool on) { return std::exchange(on_this_thread, on); }
const char* cpu_operators() { return kernels().name; }

}  // namespace sp

namespace {

// Returns the number of parts into which each of `count` images is split. It depends only on the shape, so that
// sums are added in the same order for any number of threads.
int64_t cuts(int64_t count, int64_t rows) {
  return std::clamp<int64_t>((LEAST_TASKS + count - 1) / std::max<int64_t>(count, 1), 1, std::max<int64_t>(rows, 1));
}

// ------------------------------------------------------------------ layer norm and modulation
struct NormModulate : Function<NormModulate> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& shift, const Tensor& scale,
                        bool centered) {
    const int64_t batch = x.size(0), tokens = x.size(1), size = x.size(2), parts = cuts(batch, tokens);
    const Vectors shifts(shift), scales(scale);
    Tensor y = at::empty_like(x), stats = at::empty({2, batch * tokens}, x.options().dtype(at::kFloat));
    const auto kind = storage(x);
    const int64_t bytes = x.element_size();
    auto* from = static_cast<const char*>(x.const_data_ptr());
    auto* to = static_cast<char*>(y.data_ptr());
    auto *mean = stats.data_ptr<float>(), *rstd = mean + batch * tokens;
    share(batch * parts, [&](int64_t task) {
      const int64_t image = task / parts, part = task % parts;
      const int64_t first = part * tokens / parts, last = (part + 1) * tokens / parts, row = image * tokens + first;
      kernels().norm_modulate(kind, centered, from + row * size * bytes, shifts.of(image), scales.of(image),
                              to + row * size * bytes, mean + row, rstd + row, last - first, size, float(NORM_EPS));
    });
    ctx->save_for_backward({x, shift, scale, stats});
    ctx->saved_data["centered"] = centered;
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &shift = saved[1], &scale = saved[2], &stats = saved[3];
    const bool centered = ctx->saved_data["centered"].toBool();
    if (at::GradMode::is_enabled()) {
      auto found = differentiable({x, shift, scale}, grads[0], [&](const variable_list& v) {
        return reference_norm_modulate(v[0], v[1], v[2], centered);
      });
      found.resize(4);
      return found;
    }
    const Tensor dy = grads[0].to(x.scalar_type()).contiguous();
    const int64_t batch = x.size(0), tokens = x.size(1), size = x.size(2), parts = cuts(batch, tokens);
    const Vectors scales(scale);
    Tensor dx = at::empty_like(x), sums = at::zeros({batch, parts, 2, size}, scales.rows.options());
    const auto kind = storage(x);
    const int64_t bytes = x.element_size();
    auto *g = static_cast<const char*>(dy.const_data_ptr()), *from = static_cast<const char*>(x.const_data_ptr());
    auto* to = static_cast<char*>(dx.data_ptr());
    auto *mean = stats.data_ptr<float>(), *rstd = mean + batch * tokens;
    auto* total = sums.data_ptr<float>();
    share(batch * parts, [&](int64_t task) {
      const int64_t image = task / parts, part = task % parts;
      const int64_t first = part * tokens / parts, last = (part + 1) * tokens / parts, row = image * tokens + first;
      kernels().norm_modulate_backward(kind, centered, g + row * size * bytes, from + row * size * bytes,
                                       scales.of(image), mean + row, rstd + row, to + row * size * bytes,
                                       total + task * 2 * size, last - first, size);
    });
    const Tensor all = parts == 1 ? sums.squeeze(1) : sums.sum(1);
    return {dx, like_vector(all.select(1, 0), shift), like_vector(all.select(1, 1), scale), Tensor()};
  }
};

// ------------------------------------------------------------------ gated residual
// Runs a CPU operator, forward or backward, for each part of each image; x is the gradient in a backward pass.
template <class Kernel>
void each_part(const Tensor& x, const Tensor& m, const Vectors& gates, const Tensor& out, float* sums, Kernel kernel) {
  const int64_t batch = x.size(0), tokens = x.size(1), size = x.size(2), parts = cuts(batch, tokens);
  const auto *xs = static_cast<const char*>(x.const_data_ptr()), *ms = static_cast<const char*>(m.const_data_ptr());
  auto* outs = static_cast<char*>(out.data_ptr());
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
    t.gate = gates.of(image);
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
    each_part(x, m.contiguous(), Vectors(gate), out, nullptr, kernels().gated);
    ctx->save_for_backward({m, gate});
    // Only the dtype is needed, even for second-order gradients.
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
    const Vectors gates(gate);
    Tensor dm = at::empty_like(m), sums = at::zeros({batch, parts, size}, gates.rows.options());
    each_part(g, m, gates, dm, sums.data_ptr<float>(), kernels().gated_backward);
    return {whole, dm, like_vector(parts == 1 ? sums.squeeze(1) : sums.sum(1), gate)};
  }
};

// ------------------------------------------------------------------ attention of packed queries, keys and values
// Runs a CPU operator for each head of each image; `more` completes its task, given the offset of the head's
// outputs.
template <class Kernel, class More>
void each_head(const Tensor& qkv, const Tensor& q_weight, const Tensor& k_weight, const Rotation& rotation,
               int64_t heads, double eps, bool backward, const Tensor& log_sums, Kernel kernel, More&& more) {
  const int64_t batch = qkv.size(0), tokens = qkv.size(1), hidden = qkv.size(2) / 3, size = hidden / heads;
  const bool weighted = q_weight.defined();
  const Tensor qw = weighted ? q_weight.contiguous() : q_weight, kw = weighted ? k_weight.contiguous() : k_weight;
  const auto* from = qkv.const_data_ptr<float>();
  const float *a = weighted ? qw.const_data_ptr<float>() : nullptr,
              *b = weighted ? kw.const_data_ptr<float>() : nullptr;
  const bool rotates = rotation.cos.defined();
  const auto *cos = rotates ? rotation.cos.const_data_ptr<float>() : nullptr,
             *sin = rotates ? rotation.sin.const_data_ptr<float>() : nullptr;
  const int64_t step = rotates && rotation.cos.size(0) > 1 ? tokens * size : 0;
  float* sums = log_sums.data_ptr<float>();
  const int64_t needed = kernels().attention_scratch(tokens, size, backward);
  share(batch * heads, [&](int64_t task) {
    const int64_t image = task / heads, at = image * tokens * hidden + task % heads * size;
    sp::Attention t{};
    t.qkv = from + at + 2 * image * tokens * hidden;
    t.q_weight = a;
    t.k_weight = b;
    t.cos = rotates ? cos + image * step : nullptr;
    t.sin = rotates ? sin + image * step : nullptr;
    t.count = tokens;
    t.size = size;
    t.hidden = hidden;
    t.eps = rms_eps(eps);
    t.log_sums = sums + task * tokens;
    t.scratch = scratch(needed);
    more(t, task, at);
    kernel(t);
  });
}

struct Attend : Function<Attend> {
  // Both weights are missing without a norm, and the tables without a rotation.
  static Tensor forward(AutogradContext* ctx, const Tensor& qkv, const std::optional<Tensor>& q_given,
                        const std::optional<Tensor>& k_given, const std::optional<Tensor>& cos,
                        const std::optional<Tensor>& sin, int64_t heads, double eps) {
    const Tensor q_weight = q_given.value_or(Tensor()), k_weight = k_given.value_or(Tensor());
    const Rotation rotation{cos.value_or(Tensor()), sin.value_or(Tensor())};
    const int64_t batch = qkv.size(0), tokens = qkv.size(1), hidden = qkv.size(2) / 3;
    Tensor mixed = at::empty({batch, tokens, hidden}, qkv.options());
    Tensor log_sums = at::empty({batch, heads, tokens}, qkv.options());
    auto* out = mixed.data_ptr<float>();
    each_head(qkv, q_weight, k_weight, rotation, heads, eps, false, log_sums, kernels().attention,
              [&](sp::Attention& t, int64_t, int64_t at) { t.out = out + at; });
    ctx->saved_data["heads"] = heads;
    ctx->saved_data["eps"] = eps;
    // Queries and keys are normalized and rotated again in the backward pass, not stored.
    ctx->save_for_backward({qkv, q_weight, k_weight, mixed, log_sums, rotation.cos, rotation.sin});
    return mixed;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &qkv = saved[0], &q_weight = saved[1], &k_weight = saved[2], &mixed = saved[3], &log_sums = saved[4];
    const Rotation rotation{saved[5], saved[6]};
    const int64_t heads = ctx->saved_data["heads"].toInt();
    const double eps = ctx->saved_data["eps"].toDouble();
    if (at::GradMode::is_enabled()) {
      auto found = differentiable({qkv, q_weight, k_weight}, grads[0], [&](const variable_list& v) {
        return reference_attend(v[0], v[1], v[2], heads, eps, rotation, true);
      });
      found.resize(7);
      return found;
    }
    const int64_t batch = qkv.size(0), tokens = qkv.size(1), hidden = qkv.size(2) / 3, size = hidden / heads;
    const Tensor dmixed = grads[0].contiguous();
    Tensor dqkv = at::empty_like(qkv), sums = at::zeros({batch * heads, 2, size}, qkv.options());
    auto* out = const_cast<float*>(mixed.const_data_ptr<float>());
    auto* grad = dmixed.const_data_ptr<float>();
    auto *to = dqkv.data_ptr<float>(), *total = sums.data_ptr<float>();
    each_head(qkv, q_weight, k_weight, rotation, heads, eps, true, log_sums, kernels().attention_backward,
              [&](sp::Attention& t, int64_t task, int64_t at) {
                t.out = out + at;
                t.grad = grad + at;
                t.dqkv = to + (t.qkv - qkv.const_data_ptr<float>());
                t.sums = total + task * 2 * size;
              });
    variable_list found{dqkv};
    if (q_weight.defined()) {
      const Tensor all = sums.sum(0);
      found.insert(found.end(), {all[0], all[1]});
    }
    found.resize(7);
    return found;
  }
};

}  // namespace

// ------------------------------------------------------------------ the operators
namespace sp {

Tensor norm_modulate(const Tensor& x, const Tensor& shift, const Tensor& scale, bool centered) {
  RECORD_FUNCTION("spectral::norm_modulate", c10::ArrayRef<const c10::IValue>{});
  if (switched_on())
    if (auto y = device::norm_modulate(x, shift, scale, centered)) return *y;
  if (usable(x) && x.dim() == 3 && is_vector(shift, x) && is_vector(scale, x))
    return NormModulate::apply(x.contiguous(), shift, scale, centered);
  return reference_norm_modulate(x, shift, scale, centered);
}

Stream stream_norm(const Tensor& x, const Tensor& m, const Tensor& gate, const Tensor& shift, const Tensor& scale,
                   bool centered) {
  RECORD_FUNCTION("spectral::stream_norm", c10::ArrayRef<const c10::IValue>{});
  if (switched_on())
    if (auto both = device::stream_norm(x, m, gate, shift, scale, centered)) return *both;
  const Tensor stream = m.defined() ? gated_add(x, m, gate) : x;
  return {stream, norm_modulate(stream, shift, scale, centered)};
}

Tensor gated_add(const Tensor& x, const Tensor& m, const Tensor& gate) {
  RECORD_FUNCTION("spectral::gated_add", c10::ArrayRef<const c10::IValue>{});
  if (switched_on())
    if (auto y = device::gated_add(x, m, gate)) return *y;
  const bool same = x.dim() == 3 && x.sizes() == m.sizes();
  return usable(x) && usable(m) && same && is_vector(gate, x) ? GatedAdd::apply(x, m, gate) : x + gate * m;
}

Tensor attend(const Tensor& qkv, const Tensor& q_weight, const Tensor& k_weight, int64_t heads, double eps,
              const Rotation& rotation) {
  RECORD_FUNCTION("spectral::attend", c10::ArrayRef<const c10::IValue>{});
  for (const Tensor* table : {&rotation.cos, &rotation.sin})
    TORCH_CHECK(
        !table->defined() ||
            (table->dim() == 3 && qkv.dim() == 3 && (table->size(0) == 1 || table->size(0) == qkv.size(0)) &&
             table->size(1) == qkv.size(1) && table->size(2) % 2 == 0 && qkv.size(2) == 3 * heads * table->size(2)),
        "expected tables of a rotation of the tokens ", qkv.sizes(), " in ", heads, " heads, found ", table->sizes());
  if (switched_on())
    if (auto y = device::attend(qkv, q_weight, k_weight, heads, eps, rotation)) return *y;
  const auto weighs = [&](const Tensor& w) {
    if (!w.defined()) return !q_weight.defined() && !k_weight.defined() && qkv.size(2) % (3 * heads) == 0;
    return w.is_cpu() && stored(w) && w.dim() == 1 && w.size(0) > 0 && qkv.size(2) == 3 * heads * w.size(0);
  };
  if (!usable(qkv) || qkv.dim() != 3 || !weighs(q_weight) || !weighs(k_weight))
    return reference_attend(qkv, q_weight, k_weight, heads, eps, rotation);
  // The CPU operators only take float32, also under autocast: bfloat16 would be slower.
  const auto wide = [](const Tensor& w) { return w.defined() ? std::optional(w.to(at::kFloat)) : std::nullopt; };
  const auto table = [](const Tensor& t) {
    return t.defined() ? std::optional(t.detach().to(at::kFloat).contiguous()) : std::nullopt;
  };
  return Attend::apply(qkv.to(at::kFloat).contiguous(), wide(q_weight), wide(k_weight), table(rotation.cos),
                       table(rotation.sin), heads, eps)
      .to(qkv.scalar_type());
}

}  // namespace sp
