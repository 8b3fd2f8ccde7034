// Higher derivatives of layer norm and of batch norm.
//
// libtorch differentiates the backward passes of these norms with formulas of the input, the mean and the inverse
// standard deviation, and takes the last two as constants when it differentiates these formulas in turn. Everything
// beyond a second derivative was therefore wrong, such as the gradient of a Jacobian-vector product. Here the mean and
// the inverse standard deviation carry their dependence on the input wherever a graph of a backward pass is recorded;
// values stay the same. An ordinary backward pass runs libtorch's own operator. The registrations are for the keys of
// single devices, which take precedence over libtorch's registrations for all devices.
#include <ATen/RedispatchFunctions.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <tuple>

#include "reference.h"

namespace {

using at::Tensor;
using c10::DispatchKeySet;
using sp::variable_list;
using Maybe = std::optional<Tensor>;
using Gradients = std::tuple<Tensor, Tensor, Tensor>;

bool graph_of(std::initializer_list<const Tensor*> inputs) {
  if (!at::GradMode::is_enabled()) return false;
  return std::any_of(inputs.begin(), inputs.end(), [](const Tensor* t) { return t->defined() && t->requires_grad(); });
}

// Returns keys that lead to libtorch's registration for all devices.
DispatchKeySet general(DispatchKeySet keys) {
  return (keys & c10::after_autograd_keyset) | DispatchKeySet(c10::DispatchKey::AutogradOther);
}

// The known mean and inverse standard deviation of an input, as functions of it. They have the rank of the input, and
// size 1 in the dimensions that were averaged.
struct Moments : torch::autograd::Function<Moments> {
  static variable_list forward(torch::autograd::AutogradContext* ctx, const Tensor& x, const Tensor& mean,
                               const Tensor& inverse) {
    variable_list out = {mean.detach(), inverse.detach()};
    ctx->save_for_backward({x, out[0], out[1]});
    return out;
  }

  static variable_list backward(torch::autograd::AutogradContext* ctx, variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &mean = saved[1], &inverse = saved[2];
    const double count = double(x.numel()) / double(std::max<int64_t>(mean.numel(), 1));
    Tensor sum;
    if (gradients[0].defined()) sum = gradients[0].expand_as(x);
    if (gradients[1].defined()) {
      const Tensor part = -gradients[1] * inverse.pow(3) * (x.to(mean.scalar_type()) - mean);
      sum = sum.defined() ? sum + part : part;
    }
    return {sum.defined() ? (sum / count).to(x.scalar_type()) : sum, Tensor(), Tensor()};
  }
};

// Returns gradients without the edges to moments from their node: its formula for the input includes what reaches it
// through them, and it has none for themselves.
Gradients without_edges(Gradients found, std::initializer_list<Tensor> moments) {
  for (const Tensor& out : {std::get<0>(found), std::get<1>(found), std::get<2>(found)}) {
    if (!out.defined() || !out.grad_fn()) continue;
    auto& node = *out.grad_fn();
    for (uint32_t i = 0; i < node.num_outputs(); ++i)
      for (const Tensor& moment : moments)
        if (moment.defined() && moment.grad_fn() && node.next_edge(i).function == moment.grad_fn())
          node.set_next_edge(i, torch::autograd::Edge());
    break;
  }
  return found;
}

// Returns both moments of each channel with their graph.
std::array<Tensor, 2> of_channels(const Tensor& x, const Maybe& mean, const Maybe& inverse) {
  const std::array<Tensor, 2> known = {mean.value_or(Tensor()), inverse.value_or(Tensor())};
  if (!known[0].defined() || !known[1].defined() || known[0].numel() != x.size(1)) return known;
  std::vector<int64_t> shape(size_t(x.dim()), 1);
  shape[1] = x.size(1);
  const auto found = Moments::apply(x, known[0].reshape(shape), known[1].reshape(shape));
  return {found[0].reshape(known[0].sizes()), found[1].reshape(known[1].sizes())};
}

Gradients of_layer(DispatchKeySet keys, const Tensor& gradient, const Tensor& x, c10::SymIntArrayRef shape,
                   const Tensor& mean, const Tensor& inverse, const Maybe& weight, const Maybe& bias,
                   std::array<bool, 3> wanted) {
  const Tensor scale = weight.value_or(Tensor());
  if (graph_of({&gradient, &x, &scale})) {
    const auto found = Moments::apply(x, mean, inverse);
    return without_edges(at::redispatch::native_layer_norm_backward_symint(general(keys), gradient, x, shape, found[0],
                                                                           found[1], weight, bias, wanted),
                         {found[0], found[1]});
  }
  const at::AutoDispatchBelowADInplaceOrView below;
  return at::native_layer_norm_backward_symint(gradient, x, shape, mean, inverse, weight, bias, wanted);
}

Gradients of_batch(DispatchKeySet keys, const Tensor& gradient, const Tensor& x, const Maybe& weight,
                   const Maybe& running_mean, const Maybe& running_var, const Maybe& mean, const Maybe& inverse,
                   bool train, double eps, std::array<bool, 3> wanted) {
  const Tensor scale = weight.value_or(Tensor());
  if (graph_of({&gradient, &x, &scale})) {
    if (!train)
      return at::redispatch::native_batch_norm_backward(general(keys), gradient, x, weight, running_mean, running_var,
                                                        mean, inverse, train, eps, wanted);
    const auto [m, i] = of_channels(x, mean, inverse);
    return without_edges(
        at::redispatch::native_batch_norm_backward(general(keys), gradient, x, weight, running_mean, running_var,
                                                   sp::if_defined(m), sp::if_defined(i), train, eps, wanted),
        {m, i});
  }
  const at::AutoDispatchBelowADInplaceOrView below;
  return at::native_batch_norm_backward(gradient, x, weight, running_mean, running_var, mean, inverse, train, eps,
                                        wanted);
}

Gradients of_cudnn_batch(DispatchKeySet keys, const Tensor& x, const Tensor& gradient, const Tensor& weight,
                         const Maybe& running_mean, const Maybe& running_var, const Maybe& mean, const Maybe& inverse,
                         double eps, const Tensor& reserve) {
  if (graph_of({&gradient, &x, &weight})) {
    const auto [m, i] = of_channels(x, mean, inverse);
    return without_edges(
        at::redispatch::cudnn_batch_norm_backward(general(keys), x, gradient, weight, running_mean, running_var,
                                                  sp::if_defined(m), sp::if_defined(i), eps, reserve),
        {m, i});
  }
  const at::AutoDispatchBelowADInplaceOrView below;
  return at::cudnn_batch_norm_backward(x, gradient, weight, running_mean, running_var, mean, inverse, eps, reserve);
}

}  // namespace

TORCH_LIBRARY_IMPL(aten, AutogradCPU, m) {
  m.impl("native_layer_norm_backward", TORCH_FN(of_layer));
  m.impl("native_batch_norm_backward", TORCH_FN(of_batch));
}

TORCH_LIBRARY_IMPL(aten, AutogradCUDA, m) {
  m.impl("native_layer_norm_backward", TORCH_FN(of_layer));
  m.impl("native_batch_norm_backward", TORCH_FN(of_batch));
  m.impl("cudnn_batch_norm_backward", TORCH_FN(of_cudnn_batch));
}
