// Linear maps by loops of our own, for the operators that are made of them.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

namespace sp {

// Whether rows of `in` numbers meet a weight [out, in] and a bias [out], all float32 on the CPU; libtorch says what is wrong
// with others.
bool takes_product(const at::Tensor& x, int64_t in, const at::Tensor& weight, const at::Tensor& bias);

// The loops take weights that stay in the caches while rows pass by; the libraries are faster for larger ones, with AVX-512
// sooner than with AVX2.
bool in_loops(const at::Tensor& weight);
// Likewise where there are so few rows that packing a weight can take longer than multiplying with it.
bool in_loops(const at::Tensor& weight, int64_t rows);

// x [.., in] to [.., out], where x lies dense.
at::Tensor linear_in_loops(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

// The gradients of x, weight and bias, the first and the others where they are wanted.
std::array<at::Tensor, 3> linear_backward_in_loops(const at::Tensor& g, const at::Tensor& x, const at::Tensor& weight,
                                                   bool input, bool weights);

}  // namespace sp
