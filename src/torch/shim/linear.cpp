// Linear maps and the feed-forward part of a block on the CPU.
#include <ATen/Functions.h>
#include <ATen/autocast_mode.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>

#include "device.h"
#include "fused.h"
#include "linear_maps.h"
#include "reference.h"
#include "tasks.h"

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;
using namespace sp;

namespace {

// ------------------------------------------------------------------ with a library
// Libtorch uses MKL for float32 products and, with more than one thread, oneDNN for float32 convolutions. oneDNN is
// a little faster with AVX2, and three times faster with AVX-512 on processors not made by Intel; but everywhere
// else its gradient of the weights is slower than MKL's.
//
// So a linear map is a 1x1 convolution: tokens [B, N, D] are one image [1, D, B, N] in channels-last layout, and
// nothing is copied.
bool convolves() { return at::get_num_threads() > 1; }
bool convolves_weights() {
#if defined(__x86_64__)
  static const bool wide = &kernels() == &kernels_avx512() && !__builtin_cpu_is("intel");
  return convolves() && wide;
#else
  return false;
#endif
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
// Only the shape of `x` is used.
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

// ------------------------------------------------------------------ with CPU operators
// Returns a weight [out, in] in panels: transposed, to multiply tokens [*, in]; as it is, to multiply gradients
// [*, out].
Tensor panels(const Tensor& weight, bool turned) {
  const int64_t depth = weight.size(turned ? 1 : 0), columns = weight.size(turned ? 0 : 1), wide = kernels().panel;
  Tensor all = at::empty({kernels().panels_size(depth, columns)}, weight.options());
  auto* from = weight.const_data_ptr<float>();
  auto* to = all.data_ptr<float>();
  // Enough panels to be worth a thread's time.
  const int64_t some = (1 << 14) / (depth * wide) * wide + wide;
  share((columns + some - 1) / some, [&](int64_t task) {
    for (int64_t c = task * some; c < std::min(columns, (task + 1) * some); c += wide)
      kernels().pack(from, turned, depth, columns, c, to + c * depth);
  });
  return all;
}

// Returns the number of tokens per task where nothing is summed over them.
int64_t task_of(int64_t tokens) { return std::clamp<int64_t>(tokens / 16, 32, 192); }

// Returns the number of parts into which the sums over tokens for a weight are split. It depends only on the
// shapes: an even number for two threads, and fewer for a larger weight, since each part has its own sums.
int64_t parts_for(int64_t tokens, const Tensor& weight) {
  const int64_t pairs = std::clamp<int64_t>(tokens * 64 / weight.numel(), 1, 32);
  return std::clamp<int64_t>(tokens / 48, 1, 2 * pairs);
}

// Sums over tokens of the gradients of a weight [out, in] and its bias, one per part, with rows of whole vectors.
struct Sums {
  int64_t out, in, line, bias_line;
  Tensor weights, biases;
  float *weight, *bias;

  Sums(const Tensor& like, int64_t parts) : out(like.size(0)), in(like.size(1)) {
    const int64_t wide = kernels().vector;
    line = (in + wide - 1) / wide * wide;
    bias_line = (out + wide - 1) / wide * wide;
    weights = at::empty({parts, out, line}, like.options());
    biases = at::empty({parts, bias_line}, like.options());
    weight = weights.data_ptr<float>();
    bias = biases.data_ptr<float>();
  }
  // Returns the sums of a part; those of the weight are overwritten first.
  float* weight_of(int64_t part) const { return weight + part * out * line; }
  float* bias_of(int64_t part) const {
    float* to = bias + part * bias_line;
    std::fill_n(to, bias_line, 0.0f);
    return to;
  }
  std::array<Tensor, 2> total() const {
    if (weights.size(0) == 1)
      return {weights[0].narrow(1, 0, in).contiguous(), biases[0].narrow(0, 0, out).contiguous()};
    return {weights.sum(0).narrow(1, 0, in).contiguous(), biases.sum(0).narrow(0, 0, out).contiguous()};
  }
};

}  // namespace

namespace sp {

bool takes_product(const Tensor& x, int64_t in, const Tensor& weight, const Tensor& bias) {
  const auto plain = [](const Tensor& t) { return on_cpu(t) && t.scalar_type() == at::kFloat; };
  return plain(x) && x.numel() > 0 && plain(weight) && weight.dim() == 2 && weight.size(1) == in &&
         weight.is_contiguous() && plain(bias) && bias.dim() == 1 && bias.size(0) == weight.size(0) &&
         !at::autocast::is_autocast_enabled(at::kCPU);
}

bool has_cpu_linear(const Tensor& weight) {
  const int64_t wide = kernels().vector, most = wide == 8 ? 1 << 18 : 1 << 16;
  return wide >= 8 && weight.numel() > 0 && weight.numel() <= most;
}
bool has_cpu_linear(const Tensor& weight, int64_t rows) {
  return has_cpu_linear(weight) && weight.numel() <= rows << 13;
}

Tensor cpu_linear(const Tensor& x, const Tensor& weight, const Tensor& bias_given) {
  const int64_t in = x.size(-1), out = weight.size(0), tokens = x.numel() / in, block = task_of(tokens);
  const Tensor ready = panels(weight, true), bias = bias_given.contiguous();
  auto shape = x.sizes().vec();
  shape.back() = out;
  Tensor y = at::empty(shape, x.options());
  auto *from = x.const_data_ptr<float>(), *w = ready.const_data_ptr<float>(), *b = bias.const_data_ptr<float>();
  auto* to = y.data_ptr<float>();
  share((tokens + block - 1) / block, [&](int64_t task) {
    const int64_t first = task * block;
    sp::Linear t{};
    t.x = from + first * in;
    t.panels = w;
    t.bias = b;
    t.count = std::min(block, tokens - first);
    t.in = in;
    t.out = out;
    t.y = to + first * out;
    kernels().linear(t);
  });
  return y;
}

std::array<Tensor, 3> cpu_linear_backward(const Tensor& g, const Tensor& x, const Tensor& weight, bool input,
                                          bool weights) {
  const int64_t in = x.size(-1), out = weight.size(0), tokens = x.numel() / in, parts = parts_for(tokens, weight);
  const Tensor ready = input ? panels(weight, false) : Tensor();
  Tensor dx = input ? at::empty_like(x) : Tensor();
  const Sums sums(weight, weights ? parts : 0);
  auto *dy = g.const_data_ptr<float>(), *from = x.const_data_ptr<float>();
  auto* w = input ? ready.const_data_ptr<float>() : nullptr;
  auto* to = input ? dx.data_ptr<float>() : nullptr;
  const int64_t needed = kernels().linear_scratch(in);
  share(parts, [&](int64_t part) {
    const int64_t first = part * tokens / parts;
    sp::Linear t{};
    t.x = from + first * in;
    t.panels = w;
    t.count = (part + 1) * tokens / parts - first;
    t.in = in;
    t.out = out;
    t.dy = dy + first * out;
    t.dx = input ? to + first * in : nullptr;
    t.dweight = weights ? sums.weight_of(part) : nullptr;
    t.dbias = weights ? sums.bias_of(part) : nullptr;
    t.scratch = scratch(needed);
    kernels().linear_backward(t);
  });
  if (!weights) return {dx};
  const auto [dweight, dbias] = sums.total();
  return {dx, dweight, dbias};
}

}  // namespace sp

namespace {

// The MLP of a block: everything that its tasks share.
struct MlpTasks {
  const Tensor &x, &w1, &b1, &w2, &b2;

  sp::Mlp task() const {
    sp::Mlp t{};
    t.in = w1.size(1);
    t.inner = w1.size(0);
    t.out = w2.size(0);
    return t;
  }
  int64_t tokens() const { return x.numel() / x.size(2); }

  // Stores the input of the GELU in `h`, if it is defined.
  Tensor forward(const Tensor& h) const {
    const sp::Mlp common = task();
    const Tensor first = panels(w1, true), second = panels(w2, true), bias1 = b1.contiguous(), bias2 = b2.contiguous();
    Tensor y = at::empty({x.size(0), x.size(1), common.out}, x.options());
    const int64_t count = tokens(), block = task_of(count), needed = kernels().mlp_scratch(common.in, common.out);
    auto *from = x.const_data_ptr<float>(), *a = first.const_data_ptr<float>(), *b = second.const_data_ptr<float>();
    auto *c = bias1.const_data_ptr<float>(), *d = bias2.const_data_ptr<float>();
    auto *to = y.data_ptr<float>(), *keep = h.defined() ? h.data_ptr<float>() : nullptr;
    share((count + block - 1) / block, [&](int64_t index) {
      const int64_t at = index * block;
      sp::Mlp t = common;
      t.x = from + at * t.in;
      t.first = a;
      t.second = b;
      t.bias1 = c;
      t.bias2 = d;
      t.count = std::min(block, count - at);
      t.h = keep ? keep + at * t.inner : nullptr;
      t.y = to + at * t.out;
      t.scratch = scratch(needed);
      kernels().mlp(t);
    });
    return y;
  }

  variable_list backward(const Tensor& g, const Tensor& h, bool input) const {
    const sp::Mlp common = task();
    const int64_t count = tokens(), parts = parts_for(count, w1);
    const int64_t needed = kernels().mlp_scratch(common.in, common.out);
    const Tensor first = panels(w1, false), second = panels(w2, false);
    const Sums inner(w1, parts), outer(w2, parts);
    Tensor dx = input ? at::empty_like(x) : Tensor();
    auto *from = x.const_data_ptr<float>(), *dy = g.const_data_ptr<float>();
    auto *a = first.const_data_ptr<float>(), *b = second.const_data_ptr<float>();
    auto *before = h.data_ptr<float>(), *to = input ? dx.data_ptr<float>() : nullptr;
    share(parts, [&](int64_t part) {
      const int64_t at = part * count / parts;
      sp::Mlp t = common;
      t.x = from + at * t.in;
      t.first = a;
      t.second = b;
      t.count = (part + 1) * count / parts - at;
      t.h = before + at * t.inner;
      t.dy = dy + at * t.out;
      t.dx = to ? to + at * t.in : nullptr;
      t.dfirst = inner.weight_of(part);
      t.dbias1 = inner.bias_of(part);
      t.dsecond = outer.weight_of(part);
      t.dbias2 = outer.bias_of(part);
      t.scratch = scratch(needed);
      kernels().mlp_backward(t);
    });
    const auto [dw1, db1] = inner.total();
    const auto [dw2, db2] = outer.total();
    return {dx, dw1, db1, dw2, db2, Tensor()};
  }
};

// ------------------------------------------------------------------ operators with gradients
struct LinearMap : Function<LinearMap> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight, const Tensor& bias) {
    ctx->save_for_backward({x, weight, bias});
    return has_cpu_linear(weight) ? cpu_linear(x, weight, bias) : product(x, weight, bias);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &bias = saved[2];
    if (at::GradMode::is_enabled())
      return differentiable({x, weight, bias}, grads[0],
                            [](const variable_list& v) { return at::linear(v[0], v[1], v[2]); });
    const Tensor g = grads[0].contiguous();
    variable_list found(3);
    if (has_cpu_linear(weight)) {
      const auto all = cpu_linear_backward(g, x, weight, ctx->needs_input_grad(0),
                                           ctx->needs_input_grad(1) || ctx->needs_input_grad(2));
      return {all[0], all[1], all[2]};
    }
    if (ctx->needs_input_grad(0)) found[0] = gradient_of_input(g, x, weight);
    if (ctx->needs_input_grad(1) || ctx->needs_input_grad(2)) {
      const auto both = gradients_of_weight_and_bias(g, x, weight);
      found[1] = both[0];
      found[2] = both[1];
    }
    return found;
  }
};

// Calls body(first byte, number of elements) for chunks of a tensor's elements.
template <class F>
void in_chunks(const Tensor& t, F&& body) {
  constexpr int64_t CHUNK = 1 << 14;
  const int64_t count = t.numel(), bytes = t.element_size();
  share((count + CHUNK - 1) / CHUNK, [&](int64_t task) {
    const int64_t first = task * CHUNK;
    body(first * bytes, std::min(CHUNK, count - first));
  });
}
// Computes GELU of a dense tensor, into another one or in place.
void gelu(const Tensor& x, const Tensor& y) {
  auto* from = static_cast<const char*>(x.const_data_ptr());
  auto* to = static_cast<char*>(y.data_ptr());
  in_chunks(x, [&](int64_t at, int64_t count) { kernels().gelu(storage(x), from + at, to + at, count); });
}
// Overwrites the gradient of the output with that of the input, and recomputes the output if `y` is defined.
void gelu_backward(const Tensor& x, const Tensor& gradient, const Tensor& y) {
  auto* from = static_cast<const char*>(x.const_data_ptr());
  auto* slope = static_cast<char*>(gradient.data_ptr());
  auto* to = y.defined() ? static_cast<char*>(y.data_ptr()) : nullptr;
  in_chunks(x, [&](int64_t at, int64_t count) {
    kernels().gelu_backward(storage(x), from + at, slope + at, to ? to + at : nullptr, count);
  });
}

// GELU between products in bfloat16.
struct Gelu : Function<Gelu> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x) {
    const Tensor y = at::empty_like(x);
    gelu(x, y);
    ctx->save_for_backward({x});
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const Tensor x = ctx->get_saved_variables()[0];
    if (at::GradMode::is_enabled())
      return differentiable({x}, grads[0], [](const variable_list& v) { return at::gelu(v[0], "tanh"); });
    Tensor dx = grads[0].to(x.scalar_type()).clone(at::MemoryFormat::Contiguous);
    gelu_backward(x, dx, Tensor());
    return {dx};
  }
};

struct FeedForward : Function<FeedForward> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& w1, const Tensor& b1, const Tensor& w2,
                        const Tensor& b2, bool kept) {
    if (has_cpu_linear(w1) && has_cpu_linear(w2)) {
      Tensor h = kept ? at::empty({x.size(0), x.size(1), w1.size(0)}, x.options()) : Tensor();
      const Tensor y = MlpTasks{x, w1, b1, w2, b2}.forward(h);
      ctx->save_for_backward({x, h, w1, b1, w2, b2});
      return y;
    }
    Tensor h = product(x, w1, b1);
    // If no gradient is needed, the inner layer is overwritten.
    const Tensor a = kept ? at::empty_like(h) : h;
    gelu(h, a);
    ctx->save_for_backward({x, kept ? h : Tensor(), w1, b1, w2, b2});
    return product(a, w2, b2);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &h = saved[1], &w1 = saved[2], &b1 = saved[3], &w2 = saved[4], &b2 = saved[5];
    if (at::GradMode::is_enabled()) {
      auto found = differentiable({x, w1, b1, w2, b2}, grads[0],
                                  [](const variable_list& v) { return reference_mlp(v[0], v[1], v[2], v[3], v[4]); });
      found.emplace_back();
      return found;
    }
    const Tensor g = grads[0].contiguous();
    if (has_cpu_linear(w1) && has_cpu_linear(w2))
      return MlpTasks{x, w1, b1, w2, b2}.backward(g, h, ctx->needs_input_grad(0));
    // The activation is recomputed, not stored: it is cheap to compute and four times as large as a token.
    Tensor a = at::empty_like(h);
    const Tensor da = gradient_of_input(g, h, w2);
    gelu_backward(h, da, a);
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

Tensor mlp(const Tensor& x, const Tensor& w1, const Tensor& b1, const Tensor& w2, const Tensor& b2) {
  RECORD_FUNCTION("spectral::mlp", c10::ArrayRef<const c10::IValue>{});
  if (switched_on())
    if (auto y = device::mlp(x, w1, b1, w2, b2)) return *y;
  if (!switched_on() || !x.is_cpu() || x.dim() == 0) return reference_mlp(x, w1, b1, w2, b2);
  if (x.dim() != 3 || !takes_product(x, x.size(-1), w1, b1) || !takes_product(x, w1.size(0), w2, b2)) {
    const Tensor h = at::linear(x, w1, b1);
    return at::linear(usable(h) ? Gelu::apply(h.contiguous()) : at::gelu(h, "tanh"), w2, b2);
  }
  bool kept = false;
  if (at::GradMode::is_enabled())
    for (const Tensor* t : {&x, &w1, &b1, &w2, &b2}) kept = kept || t->requires_grad();
  return FeedForward::apply(x.contiguous(), w1, b1, w2, b2, kept);
}

Tensor gelu(const Tensor& x) { return switched_on() && usable(x) ? Gelu::apply(x.contiguous()) : at::gelu(x, "tanh"); }

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  RECORD_FUNCTION("spectral::linear", c10::ArrayRef<const c10::IValue>{});
  if (switched_on())
    if (auto y = device::linear(x, weight, bias)) return *y;
  // For a few rows of an embedding, waking a library's threads takes longer than multiplying.
  const bool tokens = x.dim() == 3, rows = x.dim() == 2 && has_cpu_linear(weight, x.size(0));
  const bool ours = switched_on() && (tokens || rows) && takes_product(x, x.size(-1), weight, bias);
  return ours ? LinearMap::apply(x.contiguous(), weight, bias) : at::linear(x, weight, bias);
}

}  // namespace sp
