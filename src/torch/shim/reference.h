// Reference implementations of the fused operators, composed of libtorch's operators. They are used when no CPU
// operator or kernel applies, when those are switched off, and for second-order gradients.
#pragma once
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>
#include <optional>
#include <vector>

#include "fused.h"

namespace sp {

using at::Tensor;
using torch::autograd::variable_list;

// Functions of autograd do not take undefined tensors as such.
inline std::optional<Tensor> if_defined(const Tensor& t) { return t.defined() ? std::optional(t) : std::nullopt; }

inline Tensor like_vector(const Tensor& sums, const Tensor& t) {
  return at::sum_to(sums.unsqueeze(1), t.sizes()).to(t.scalar_type());
}

// Returns gradients that can be differentiated again: those of the reference implementation, whose graph is
// recorded. Outputs with an undefined gradient are left out. One input may be computed from another, or be the same
// tensor, and the caller adds up what reaches it on all paths; so each gradient is that of a view, which only this
// operator uses. An operator makes an input dense before its function of autograd starts, not in it: what is made in it
// has no graph.
template <class Plain>
variable_list differentiable(const variable_list& inputs, const variable_list& gradients, Plain&& plain) {
  variable_list views = inputs, wanted, outputs, given;
  for (Tensor& t : views)
    if (t.defined() && t.requires_grad()) wanted.push_back(t = t.view_as(t));
  const variable_list all_outputs = plain(views);
  for (size_t i = 0; i < gradients.size(); ++i)
    if (gradients[i].defined() && all_outputs[i].requires_grad()) {
      outputs.push_back(all_outputs[i]);
      given.push_back(gradients[i]);
    }
  variable_list all(inputs.size());
  if (wanted.empty() || outputs.empty()) return all;
  const auto found = torch::autograd::grad(outputs, wanted, given, true, true, true);
  for (size_t i = 0, next = 0; i < inputs.size(); ++i)
    if (inputs[i].defined() && inputs[i].requires_grad()) all[i] = found[next++];
  return all;
}
template <class Plain>
variable_list differentiable(const variable_list& inputs, const Tensor& gradient, Plain&& plain) {
  return differentiable(inputs, variable_list{gradient},
                        [&](const variable_list& v) { return variable_list{plain(v)}; });
}

constexpr double NORM_EPS = 1e-6;

inline Tensor reference_norm_modulate(const Tensor& x, const Tensor& shift, const Tensor& scale, bool centered = true) {
  const auto normal =
      centered ? at::layer_norm(x, {x.size(-1)}, {}, {}, NORM_EPS) : at::rms_norm(x, {x.size(-1)}, {}, NORM_EPS);
  return shift.addcmul(normal, scale + 1);
}

// Applies a filter to tokens [B, N, D]: a matrix [1, G, G] along both axes.
inline Tensor both_axes(const Tensor& matrix, const Tensor& x) {
  const int64_t batch = x.size(0), grid = matrix.size(2), rows = matrix.size(1), size = x.size(2);
  const Tensor m = matrix.to(x.scalar_type());
  const Tensor down = m.expand({batch, rows, grid}).bmm(x.reshape({batch, grid, grid * size}));
  const Tensor across = m.expand({batch * rows, rows, grid}).bmm(down.reshape({batch * rows, grid, size}));
  return across.reshape({batch, rows * rows, size});
}

// Returns the output of a filter.
inline Tensor low_band(const GridFilter& c, const Tensor& x) {
  const Tensor passed = both_axes(c.matrix, x);
  if (!c.gains.defined()) return passed;
  return both_axes(c.matrix.transpose(1, 2), passed * c.gains.to(x.scalar_type()).reshape({1, passed.size(1), 1}));
}

// Adds the corrections of r one after another to x + r, so that zero coefficients change no bit.
inline Tensor reference_corrected(const Tensor& start, const Tensor& r, const std::vector<Correction>& corrections) {
  Tensor sum = start;
  for (const Correction& c : corrections) {
    const auto bands = int64_t(c.filters.size()) + 1;
    const auto of = [&](int64_t band) {
      const Tensor one = c.coefficients.narrow(1, band, 1);
      return one.dim() == 2 ? one.unsqueeze(2) : one;
    };
    sum = sum.addcmul(of(bands - 1), r);
    for (int64_t i = 0; i + 1 < bands; ++i) sum = sum.addcmul(of(i) - of(i + 1), low_band(c.filters[size_t(i)], r));
  }
  return sum;
}

// Computes scaled dot-product attention.
inline Tensor reference_mix(const Tensor& q, const Tensor& k, const Tensor& v, bool again) {
  // A gradient that is differentiated again is that of the unfused attention, see attention_twice.cpp, so its forward
  // pass is computed once.
  if (again) return std::get<0>(at::_scaled_dot_product_attention_math(q, k, v));
  // On the CPU libtorch's kernel takes 1.5 times as long in bfloat16 as in float32, forward and backward together,
  // although matrix products are faster in bfloat16.
  if (q.is_cpu() && q.scalar_type() == at::kBFloat16)
    return std::get<0>(
               at::_scaled_dot_product_flash_attention_for_cpu(q.to(at::kFloat), k.to(at::kFloat), v.to(at::kFloat)))
        .to(at::kBFloat16);
  return at::scaled_dot_product_attention(q, k, v);
}

// Rotates queries or keys [B, N, heads, D].
inline Tensor reference_rotate(const Tensor& x, const Rotation& rotation) {
  if (!rotation.cos.defined()) return x;
  const Tensor pairs = x.reshape({x.size(0), x.size(1), x.size(2), x.size(3) / 2, 2});
  const Tensor turned = at::stack({-pairs.select(-1, 1), pairs.select(-1, 0)}, -1).reshape(x.sizes());
  return (x * rotation.cos.unsqueeze(2) + turned * rotation.sin.unsqueeze(2)).to(x.scalar_type());
}

// Returns queries, keys and values [B, N, heads, D] from packed ones, the first two normalized and weighted unless
// the weights are undefined, and rotated.
inline std::array<Tensor, 3> reference_split(const Tensor& qkv, const Tensor& q_weight, const Tensor& k_weight,
                                             int64_t heads, double eps, const Rotation& rotation) {
  const int64_t batch = qkv.size(0), tokens = qkv.size(1), hidden = qkv.size(2) / 3, size = hidden / heads;
  // Splitting the last dimension makes the backward pass a single concatenation; unbinding a permuted view would
  // copy the gradient twice.
  const auto parts = qkv.split(hidden, -1);
  auto normal = [&](const Tensor& part, const Tensor& weight) {
    const Tensor each = part.reshape({batch, tokens, heads, size});
    if (!weight.defined()) return each;
    // Under autocast the input is bfloat16, but the weight is not.
    return at::rms_norm(each, {size}, weight.to(part.scalar_type()), eps < 0 ? std::nullopt : std::optional(eps));
  };
  return {reference_rotate(normal(parts[0], q_weight), rotation),
          reference_rotate(normal(parts[1], k_weight), rotation), parts[2].reshape({batch, tokens, heads, size})};
}

inline Tensor reference_attend(const Tensor& qkv, const Tensor& q_weight, const Tensor& k_weight, int64_t heads,
                               double eps, const Rotation& rotation, bool again = false) {
  const auto [q, k, v] = reference_split(qkv, q_weight, k_weight, heads, eps, rotation);
  return reference_mix(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), again)
      .transpose(1, 2)
      .reshape({qkv.size(0), qkv.size(1), qkv.size(2) / 3});
}

// Returns the epsilon of RMSNorm for the kernels: a negative one stands for that of the input's dtype, float32.
inline float rms_eps(double eps) { return eps < 0 ? 1.1920928955078125e-7f : float(eps); }

inline Tensor reference_gate(const Tensor& c, const Tensor& w1, const Tensor& b1, const Tensor& w2, const Tensor& b2,
                             double scale) {
  return at::tanh(linear(at::silu(linear(c, w1, b1)), w2, b2)) * scale;
}

inline Tensor reference_mlp(const Tensor& x, const Tensor& w1, const Tensor& b1, const Tensor& w2, const Tensor& b2) {
  return at::linear(at::gelu(at::linear(x, w1, b1), "tanh"), w2, b2);
}

}  // namespace sp
