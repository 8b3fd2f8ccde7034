// The small network of a gate on the CPU. It is far too small for a library, which would wake all threads for it.
#include <ATen/Functions.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include "fused.h"
#include "linear_maps.h"
#include "reference.h"
#include "tasks.h"

#include <tuple>

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;
using namespace sp;

namespace {

// Returns the part of a task that both directions share.
sp::Gate task_of(const Tensor& h, const Tensor& w2, const Tensor& bounded, double scale) {
  sp::Gate t{};
  t.h = h.const_data_ptr<float>();
  t.weight = w2.const_data_ptr<float>();
  t.scale = float(scale);
  t.count = h.size(0);
  t.inner = h.size(1);
  t.outputs = w2.size(0);
  t.bounded = bounded.data_ptr<float>();
  return t;
}

// Whether the second map is fused with the operations around it.
bool few(const Tensor& w2) { return w2.size(0) <= FEW_OUTPUTS; }

Tensor activated(const Tensor& h) {
  Tensor a = at::empty_like(h);
  kernels().silu(h.const_data_ptr<float>(), a.data_ptr<float>(), h.numel());
  return a;
}

struct GateNetwork : Function<GateNetwork> {
  static Tensor forward(AutogradContext* ctx, const Tensor& c, const Tensor& w1, const Tensor& b1, const Tensor& w2,
                        const Tensor& b2, double scale) {
    const Tensor h = cpu_linear(c, w1, b1), bias = b2.contiguous();
    Tensor y, bounded;
    if (few(w2)) {
      y = at::empty({c.size(0), w2.size(0)}, c.options());
      bounded = at::empty_like(y);
      sp::Gate t = task_of(h, w2, bounded, scale);
      t.bias = bias.const_data_ptr<float>();
      t.y = y.data_ptr<float>();
      kernels().gate(t);
    } else {
      y = cpu_linear(activated(h), w2, bias);
      bounded = at::empty_like(y);
      kernels().bound(y.data_ptr<float>(), bounded.data_ptr<float>(), float(scale), y.numel());
    }
    ctx->save_for_backward({c, h, bounded, w1, b1, w2, b2});
    ctx->saved_data["scale"] = scale;
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &c = saved[0], &h = saved[1], &bounded = saved[2], &w1 = saved[3], &b1 = saved[4], &w2 = saved[5],
                 &b2 = saved[6];
    const double scale = ctx->saved_data["scale"].toDouble();
    if (at::GradMode::is_enabled()) {
      auto found = differentiable({c, w1, b1, w2, b2}, grads[0], [&](const variable_list& v) {
        return reference_gate(v[0], v[1], v[2], v[3], v[4], scale);
      });
      found.emplace_back();
      return found;
    }
    const Tensor g = grads[0].contiguous();
    Tensor dh, dw2, db2;
    if (few(w2)) {
      dh = at::empty_like(h);
      dw2 = at::zeros_like(w2);
      db2 = at::zeros({w2.size(0)}, w2.options());
      sp::Gate t = task_of(h, w2, bounded, scale);
      t.dy = g.const_data_ptr<float>();
      t.dh = dh.data_ptr<float>();
      t.dweight = dw2.data_ptr<float>();
      t.dbias = db2.data_ptr<float>();
      kernels().gate_backward(t);
    } else {
      const Tensor du = at::empty_like(bounded);
      kernels().bound_backward(bounded.const_data_ptr<float>(), g.const_data_ptr<float>(), float(scale),
                               du.data_ptr<float>(), du.numel());
      std::tie(dh, dw2, db2) = std::tuple_cat(cpu_linear_backward(du, activated(h), w2, true, true));
      kernels().silu_backward(h.const_data_ptr<float>(), dh.data_ptr<float>(), h.numel());
    }
    const bool weights = ctx->needs_input_grad(1) || ctx->needs_input_grad(2);
    const auto first = cpu_linear_backward(dh, c, w1, ctx->needs_input_grad(0), weights);
    return {first[0], first[1], first[2], dw2, db2, Tensor()};
  }
};

}  // namespace

namespace sp {

Tensor gate(const Tensor& c, const Tensor& w1, const Tensor& b1, const Tensor& w2, const Tensor& b2, double scale) {
  RECORD_FUNCTION("spectral::gate", c10::ArrayRef<const c10::IValue>{});
  const bool ours = switched_on() && c.dim() == 2 && takes_product(c, c.size(1), w1, b1) &&
                    takes_product(c, w1.size(0), w2, b2) && has_cpu_linear(w1, c.size(0)) &&
                    (few(w2) || has_cpu_linear(w2, c.size(0)));
  return ours ? GateNetwork::apply(c.contiguous(), w1, b1, w2, b2, scale) : reference_gate(c, w1, b1, w2, b2, scale);
}

}  // namespace sp
