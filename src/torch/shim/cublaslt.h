// A matrix product of cuBLASLt whose end adds a bias, keeps the sum and activates. libtorch offers the end that only
// activates, and training needs both.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace sp::cublaslt {

using at::Tensor;

// h = x w^T + bias and a = gelu(h) in one product: x [M, K], w [N, K], bias [N], h and a [M, N], all bfloat16 on CUDA and
// dense. False where cuBLASLt is missing or has no algorithm for it; then nothing was written.
bool linear_gelu(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& h, const Tensor& a);

// The products that were used so far, one shape a line, with the milliseconds of the algorithm that was chosen.
std::string choices();

}  // namespace sp::cublaslt
