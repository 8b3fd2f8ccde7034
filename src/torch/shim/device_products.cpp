// Linear maps on a device: in bfloat16 under autocast, with copies of the weights that are only updated when the
// weights change, and with the bias and the activation between two maps in one kernel.
#include <ATen/Functions.h>

#include "columns.h"
#include "cublaslt.h"
#include "device.h"
#include "bf16_weights.h"
#include "launch.h"
#include "reference.h"

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;
using namespace sp;

namespace {

// Disables autocast: tensors already have the right dtype here.
struct NoAutocast {
  c10::impl::ExcludeDispatchKeyGuard guard{c10::autocast_dispatch_keyset};
};

Tensor as(const Tensor& t, at::ScalarType type) { return type == at::kBFloat16 ? bf16_copy(t) : t; }
Tensor rows_of(const Tensor& x, at::ScalarType type) { return x.to(type).reshape({-1, x.size(-1)}); }
std::vector<int64_t> with_last(const Tensor& x, int64_t size) {
  auto sizes = x.sizes().vec();
  sizes.back() = size;
  return sizes;
}

// Returns the gradient of a bias: the column sums of a map's gradient, whose rows are `rows`.
Tensor bias_gradient(const Tensor& gradient, const Tensor& rows, const Tensor& bias) {
  const Tensor known = take_column_sums(gradient);
  return known.defined() ? known.to(bias.scalar_type()) : rows.sum(0, false, bias.scalar_type());
}

// ------------------------------------------------------------------ one linear map
// Pads the end of a dimension with zeros to a multiple of 8: bfloat16 products of other lengths use kernels that
// are several times slower.
Tensor padded(const Tensor& t, int64_t dim) {
  const int64_t missing = (8 - t.size(dim) % 8) % 8;
  if (missing == 0) return t;
  std::vector<int64_t> ends(size_t(2 * (t.dim() - dim)), 0);
  ends.back() = missing;
  return at::constant_pad_nd(t, ends);
}

struct Product : Function<Product> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight, const Tensor& bias) {
    const NoAutocast plainly;
    ctx->save_for_backward({x, weight, bias});
    const Tensor rows = padded(rows_of(x, at::kBFloat16), 1), w = padded(padded(bf16_copy(weight), 0), 1);
    const Tensor y = at::addmm(padded(bf16_copy(bias), 0), rows, w.t());
    return y.narrow(1, 0, weight.size(0)).reshape(with_last(x, weight.size(0)));
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const NoAutocast plainly;
    const auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &bias = saved[2];
    if (at::GradMode::is_enabled())
      return differentiable({x, weight, bias}, grads[0],
                            [](const variable_list& v) { return at::linear(v[0].to(v[1].scalar_type()), v[1], v[2]); });
    const Tensor given = rows_of(grads[0], at::kBFloat16), g = padded(given, 1);
    const int64_t inputs = weight.size(1), outputs = weight.size(0);
    variable_list found(3);
    if (ctx->needs_input_grad(0)) {
      const Tensor dx = g.mm(padded(padded(bf16_copy(weight), 0), 1));
      found[0] = dx.narrow(1, 0, inputs).reshape(x.sizes()).to(x.scalar_type());
    }
    if (ctx->needs_input_grad(1)) {
      const Tensor dw = g.t().mm(padded(rows_of(x, at::kBFloat16), 1));
      found[1] = dw.narrow(0, 0, outputs).narrow(1, 0, inputs).to(weight.scalar_type());
    }
    if (ctx->needs_input_grad(2)) found[2] = bias_gradient(grads[0], given, bias);
    return found;
  }
};

// ------------------------------------------------------------------ two with an activation between them
struct Activation {
  int64_t rows, size, vec;
  Spread spread;
  int64_t parts;
  KernelFile kernels;

  Activation(const Tensor& h, const Tensor& bias, const Tensor* gradient = nullptr, bool activated = false)
      : Activation(h, h.scalar_type(), h.size(0), bias, {&h, &bias, gradient ? gradient : &h}, activated) {}
  // For rows that do not exist yet.
  Activation(const Tensor& where, at::ScalarType type, int64_t rows, const Tensor& bias,
             std::initializer_list<const Tensor*> tensors, bool activated = false)
      : rows(rows),
        size(bias.size(0)),
        vec(pack(type == at::kBFloat16 ? 8 : 4, size, tensors)),
        spread(size / vec),
        parts(parts_of(spread.slabs, rows, 2 * spread.rows)),
        kernels("bias_gelu", where) {
    kernels.define("ACTIVATED", activated).define("E", type).define("C", bias.scalar_type());
    kernels.define("SIZE", size).define("VEC", vec).define("LANES", spread.lanes).define("ROWS", spread.rows);
  }
  int64_t blocks() const { return parts * spread.slabs; }
};

// Computes h = rows w1^T + b1, a = gelu(h) with cuBLASLt if possible. Its epilogues for the gradient of GELU and
// for sums do not pay off: on an H100 they take three times as long as a product and a kernel.
bool gelu_of_product(const Tensor& rows, const Tensor& w1, const Tensor& b1, Tensor& h, Tensor& a) {
  h = at::empty({rows.size(0), w1.size(0)}, rows.options());
  a = at::empty_like(h);
  return cublaslt::linear_gelu(rows, bf16_copy(w1), bf16_copy(b1), h, a);
}

struct Mlp : Function<Mlp> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& w1, const Tensor& b1, const Tensor& w2,
                        const Tensor& b2, bool kept, int64_t to) {
    const NoAutocast plainly;
    const auto type = at::ScalarType(to);
    const Tensor rows = rows_of(x, type);
    // Saved for the backward pass: the inner layer before the activation, and after it if that was written anyway.
    Tensor h, a, active;
    // This cuBLASLt epilogue adds the bias and activates, but keeps nothing for a backward pass.
    if (!kept && x.is_cuda() && type == at::kBFloat16) {
      a = at::_addmm_activation(as(b1, type), rows, as(w1, type).t(), 1, 1, true);
    } else if (kept && type == at::kBFloat16 && gelu_of_product(rows, w1, b1, h, a)) {
      active = a;
    } else {
      h = rows.mm(as(w1, type).t());
      a = kept ? at::empty_like(h) : h;
      Activation activation(h, b1, &a);
      TORCH_CHECK(activation.kernels.load(), "the kernels of bias_gelu are gone");
      activation.kernels.launch("bias_gelu", activation.blocks(), activation.spread.threads(), h.const_data_ptr(),
                                b1.const_data_ptr(), a.data_ptr(), int(activation.rows), int(activation.parts));
    }
    ctx->save_for_backward({x, kept ? h : Tensor(), w1, b1, w2, b2, active});
    ctx->saved_data["to"] = to;
    return at::addmm(as(b2, type), a, as(w2, type).t()).reshape(with_last(x, w2.size(0)));
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const NoAutocast plainly;
    const auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &h = saved[1], &w1 = saved[2], &b1 = saved[3], &w2 = saved[4], &b2 = saved[5];
    const auto type = at::ScalarType(ctx->saved_data["to"].toInt());
    if (at::GradMode::is_enabled()) {
      auto found = differentiable({x, w1, b1, w2, b2}, grads[0], [](const variable_list& v) {
        return reference_mlp(v[0].to(v[1].scalar_type()), v[1], v[2], v[3], v[4]);
      });
      found.resize(7);
      return found;
    }
    const Tensor g = rows_of(grads[0], type);
    const Tensor dh = g.mm(as(w2, type));
    // If a product has activated, it has added the bias to h, and a exists. Otherwise a is recomputed, not stored.
    Tensor a = saved[6], computed;
    const bool activated = a.defined();
    if (!activated) a = computed = at::empty_like(h);
    Activation activation(h, b1, &dh, activated);
    TORCH_CHECK(activation.kernels.load(), "the kernels of bias_gelu are gone");
    Tensor sums = at::empty({activation.parts, activation.size}, h.options().dtype(at::kFloat));
    activation.kernels.launch("bias_gelu_backward", activation.blocks(), activation.spread.threads(),
                              h.const_data_ptr(), b1.const_data_ptr(), dh.data_ptr(),
                              activated ? nullptr : computed.data_ptr(), sums.data_ptr<float>(), int(activation.rows),
                              int(activation.parts));
    const Tensor db1 = sums.sum(0, false, b1.scalar_type());
    const Tensor dw2 = g.t().mm(a).to(w2.scalar_type()), db2 = bias_gradient(grads[0], g, b2);
    a.reset();
    computed.reset();
    const Tensor dw1 = dh.t().mm(rows_of(x, type)).to(w1.scalar_type());
    Tensor dx;
    if (ctx->needs_input_grad(0)) dx = dh.mm(as(w1, type)).reshape(x.sizes()).to(x.scalar_type());
    return {dx, dw1, db1, dw2, db2, Tensor(), Tensor()};
  }
};

// Whether these are float32 weights that autocast rounds.
bool rounded(const Tensor& x, std::initializer_list<const Tensor*> weights) {
  if (!has_kernels(x) || !autocasts(x) || x.numel() == 0 || x.dim() < 2 || !x.is_floating_point()) return false;
  for (const Tensor* w : weights)
    if (w->scalar_type() != at::kFloat || w->device() != x.device() || !w->is_contiguous()) return false;
  return x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16;
}

// Whether the sizes of a map match. Libtorch reports the error for others, which padding would hide.
bool matches(int64_t in, const Tensor& weight, const Tensor& bias) {
  return weight.dim() == 2 && weight.size(1) == in && bias.dim() == 1 && bias.size(0) == weight.size(0);
}

}  // namespace

namespace sp::device {

std::optional<Tensor> linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (!rounded(x, {&weight, &bias}) || !matches(x.size(-1), weight, bias)) return std::nullopt;
  return Product::apply(x, weight, bias);
}

std::optional<Tensor> mlp(const Tensor& x, const Tensor& w1, const Tensor& b1, const Tensor& w2, const Tensor& b2) {
  if (!has_kernels(x) || x.numel() == 0 || x.dim() < 2) return std::nullopt;
  if (!matches(x.size(-1), w1, b1) || !matches(w1.size(0), w2, b2)) return std::nullopt;
  auto type = at::kBFloat16;
  if (!rounded(x, {&w1, &b1, &w2, &b2})) {
    if (autocasts(x)) return std::nullopt;
    type = x.scalar_type();
    if (type != at::kFloat && type != at::kBFloat16) return std::nullopt;
    for (const Tensor* t : {&w1, &b1, &w2, &b2})
      if (t->scalar_type() != type || t->device() != x.device() || !t->is_contiguous()) return std::nullopt;
  }
  const int64_t rows = x.numel() / x.size(-1);
  if (rows >= MOST_ROWS || !Activation(x, type, rows, b1, {&b1}).kernels.load()) return std::nullopt;
  bool kept = false;
  if (at::GradMode::is_enabled())
    for (const Tensor* t : {&x, &w1, &b1, &w2, &b2}) kept = kept || t->requires_grad();
  return Mlp::apply(x, w1, b1, w2, b2, kept, int64_t(type));
}

}  // namespace sp::device
