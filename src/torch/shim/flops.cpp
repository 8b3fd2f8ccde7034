// Counts the floating-point operations of matrix products, convolutions, attention and Fourier transforms on this
// thread, by observing the operators that are called. A multiply-add counts as two.
#include "flops.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <cmath>
#include <string_view>

namespace sp {
namespace {

thread_local double counted = 0;
thread_local at::CallbackHandle handle = 0;

using Inputs = c10::ArrayRef<const c10::IValue>;

at::Tensor tensor(Inputs inputs, size_t at) {
  return at < inputs.size() && inputs[at].isTensor() ? inputs[at].toTensor() : at::Tensor();
}

// 2 n k m for matrices [.., n, k] and [k, m].
double product(const at::Tensor& a, const at::Tensor& b) {
  if (!a.defined() || !b.defined() || a.dim() < 1 || b.dim() < 1) return 0;
  return 2.0 * double(a.numel()) * double(b.dim() < 2 ? 1 : b.size(-1));
}

double convolution(Inputs inputs) {
  const at::Tensor x = tensor(inputs, 0), weight = tensor(inputs, 1);
  if (!x.defined() || !weight.defined() || inputs.size() < 7) return 0;
  const double window = double(weight.numel()) / double(weight.size(0));
  if (inputs[6].toBool()) return 2.0 * double(x.numel()) * window;
  const auto stride = inputs[3].toIntVector(), padding = inputs[4].toIntVector(), dilation = inputs[5].toIntVector();
  double places = double(x.size(0)) * double(weight.size(0));
  for (int64_t i = 2; i < x.dim(); ++i) {
    // A single number applies to all axes.
    const auto of = [&](const std::vector<int64_t>& v) { return v[std::min(size_t(i - 2), v.size() - 1)]; };
    places *= double((x.size(i) + 2 * of(padding) - of(dilation) * (weight.size(i) - 1) - 1) / of(stride) + 1);
  }
  return 2.0 * places * window;
}

// Both matrix products of attention for queries [.., N, d], keys [.., M, d] and values.
double attention(Inputs inputs) {
  const at::Tensor q = tensor(inputs, 0), k = tensor(inputs, 1);
  return q.defined() && k.defined() ? 4.0 * double(q.numel()) * double(k.size(-2)) : 0;
}

double fourier(Inputs inputs) {
  const at::Tensor x = tensor(inputs, 0);
  if (!x.defined() || inputs.size() < 2 || !inputs[1].isIntList()) return 0;
  double length = 1;
  for (const int64_t dim : inputs[1].toIntVector()) length *= double(x.size(dim));
  return 5.0 * double(x.numel()) * std::log2(std::max(length, 2.0));
}

std::unique_ptr<at::ObserverContext> look(const at::RecordFunction& function) {
  const std::string_view name = function.name();
  const Inputs inputs = function.inputs();
  if (name == "aten::mm" || name == "aten::bmm" || name == "aten::mv" || name == "aten::dot")
    counted += product(tensor(inputs, 0), tensor(inputs, 1));
  else if (name == "aten::addmm" || name == "aten::baddbmm" || name == "aten::addmv")
    counted += product(tensor(inputs, 1), tensor(inputs, 2));
  else if (name == "aten::convolution")
    counted += convolution(inputs);
  else if (name.rfind("aten::_scaled_dot_product_", 0) == 0 && name.find("_math") == std::string_view::npos &&
           name.find("fused_attention_choice") == std::string_view::npos)
    counted += attention(inputs);
  else if (name.rfind("aten::_fft_", 0) == 0)
    counted += fourier(inputs);
  return nullptr;
}

}  // namespace

bool count_flops(bool on) {
  const bool was = handle != 0;
  if (on && !was)
    handle = at::addThreadLocalCallback(
        at::RecordFunctionCallback(look).needsInputs(true).scopes({at::RecordScope::FUNCTION}));
  if (!on && was) {
    at::removeCallback(handle);
    handle = 0;
  }
  return was;
}
double flops() { return counted; }
void set_flops(double value) { counted = value; }

}  // namespace sp
