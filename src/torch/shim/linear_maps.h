// Linear maps as CPU operators, for the operators that are composed of them.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

namespace sp {

// Whether rows of `in` numbers, a weight [out, in] and a bias [out] match, all float32 on the CPU; libtorch reports
// the error for others.
bool takes_product(const at::Tensor& x, int64_t in, const at::Tensor& weight, const at::Tensor& bias);

// Whether the CPU operators are used for a weight: it must stay in the caches for all rows. The libraries are
// faster for larger ones, with AVX-512 sooner than with AVX2.
bool has_cpu_linear(const at::Tensor& weight);
// Same for so few rows that packing a weight can take longer than multiplying with it.
bool has_cpu_linear(const at::Tensor& weight, int64_t rows);

// Maps x [.., in], which must be dense, to [.., out].
at::Tensor cpu_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

// Returns the gradients of x, weight and bias; `input` requests the first, `weights` the others.
std::array<at::Tensor, 3> cpu_linear_backward(const at::Tensor& g, const at::Tensor& x, const at::Tensor& weight,
                                              bool input, bool weights);

}  // namespace sp
