// Second derivatives of libtorch's fused attention.
//
// The backward pass of a fused attention is an operator without a derivative, so libtorch cannot differentiate a
// gradient through attention again. Here these operators get one: where a graph is recorded, the gradient is that of
// the unfused attention, whose operators can be differentiated any number of times. Where none is recorded, as in every
// ordinary backward pass, libtorch's own operator runs. The registrations are for the keys of single devices, which
// take precedence over libtorch's registrations for all devices.
#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <torch/library.h>

#include <array>
#include <tuple>
#include <utility>

#include "reference.h"

namespace {

using at::Tensor;
using c10::SymInt;
using sp::variable_list;
using Gradients = std::tuple<Tensor, Tensor, Tensor>;
using Four = std::tuple<Tensor, Tensor, Tensor, Tensor>;
using Scale = std::optional<double>;

bool again(std::initializer_list<const Tensor*> inputs) {
  if (!at::GradMode::is_enabled()) return false;
  for (const Tensor* t : inputs)
    if (t->defined() && t->requires_grad()) return true;
  return false;
}

// Returns the gradients of queries, keys, values and mask with a graph.
variable_list recorded(const Tensor& gradient, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask,
                       double dropout, bool causal, Scale scale) {
  TORCH_CHECK(dropout == 0, "attention with dropout has no second derivatives");
  return sp::differentiable({q, k, v, mask}, gradient, [&](const variable_list& inputs) {
    return std::get<0>(at::_scaled_dot_product_attention_math(inputs[0], inputs[1], inputs[2],
                                                              sp::if_defined(inputs[3]), 0.0, causal, std::nullopt,
                                                              scale, q.size(1) != k.size(1)));
  });
}

// In deterministic mode, libtorch's backward passes take their deterministic algorithm only if the mode does not just
// warn. It just warns elsewhere, so that operators without such an algorithm run.
class Strict {
 public:
  Strict() : on_(context().deterministicAlgorithms() && context().deterministicAlgorithmsWarnOnly()) {
    if (on_) context().setDeterministicAlgorithms(true, false);
  }
  ~Strict() {
    if (on_) context().setDeterministicAlgorithms(true, true);
  }
  Strict(const Strict&) = delete;
  Strict& operator=(const Strict&) = delete;

 private:
  static at::Context& context() { return at::globalContext(); }
  bool on_;
};

Gradients three(const variable_list& all) { return {all[0], all[1], all[2]}; }

Gradients of_cpu(const Tensor& gradient, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out,
                 const Tensor& sums, double dropout, bool causal, const std::optional<Tensor>& mask, Scale scale) {
  if (again({&gradient, &q, &k, &v}))
    return three(recorded(gradient, q, k, v, mask.value_or(Tensor()), dropout, causal, scale));
  const at::AutoDispatchBelowADInplaceOrView below;
  return at::_scaled_dot_product_flash_attention_for_cpu_backward(gradient, q, k, v, out, sums, dropout, causal, mask,
                                                                  scale);
}

Gradients of_flash(const Tensor& gradient, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out,
                   const Tensor& sums, const Tensor& q_starts, const Tensor& k_starts, SymInt q_most, SymInt k_most,
                   double dropout, bool causal, const Tensor& seed, const Tensor& offset, Scale scale) {
  if (again({&gradient, &q, &k, &v})) return three(recorded(gradient, q, k, v, {}, dropout, causal, scale));
  const at::AutoDispatchBelowADInplaceOrView below;
  const Strict strict;
  return at::_scaled_dot_product_flash_attention_backward_symint(gradient, q, k, v, out, sums, q_starts, k_starts,
                                                                 std::move(q_most), std::move(k_most), dropout, causal,
                                                                 seed, offset, scale);
}

Four of_efficient(const Tensor& gradient, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask,
                  const Tensor& out, const Tensor& sums, const Tensor& seed, const Tensor& offset, double dropout,
                  std::array<bool, 4> wanted, bool causal, Scale scale) {
  if (again({&gradient, &q, &k, &v, &mask})) {
    const auto all = recorded(gradient, q, k, v, mask, dropout, causal, scale);
    return {all[0], all[1], all[2], all[3]};
  }
  const at::AutoDispatchBelowADInplaceOrView below;
  const Strict strict;
  return at::_scaled_dot_product_efficient_attention_backward(gradient, q, k, v, mask, out, sums, seed, offset, dropout,
                                                              wanted, causal, scale);
}

Gradients of_cudnn(const Tensor& gradient, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out,
                   const Tensor& sums, const Tensor& seed, const Tensor& offset, const Tensor& mask,
                   const Tensor& q_starts, const Tensor& k_starts, SymInt q_most, SymInt k_most, double dropout,
                   bool causal, Scale scale) {
  if (again({&gradient, &q, &k, &v})) return three(recorded(gradient, q, k, v, mask, dropout, causal, scale));
  const at::AutoDispatchBelowADInplaceOrView below;
  return at::_scaled_dot_product_cudnn_attention_backward_symint(gradient, q, k, v, out, sums, seed, offset, mask,
                                                                 q_starts, k_starts, std::move(q_most),
                                                                 std::move(k_most), dropout, causal, scale);
}

}  // namespace

TORCH_LIBRARY_IMPL(aten, AutogradCPU, m) { m.impl("_scaled_dot_product_flash_attention_for_cpu_backward", of_cpu); }

TORCH_LIBRARY_IMPL(aten, AutogradCUDA, m) {
  m.impl("_scaled_dot_product_flash_attention_backward", of_flash);
  m.impl("_scaled_dot_product_efficient_attention_backward", of_efficient);
  m.impl("_scaled_dot_product_cudnn_attention_backward", of_cudnn);
}
