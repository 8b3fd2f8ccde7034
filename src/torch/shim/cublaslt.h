// Matrix products of cuBLASLt with a fused epilogue that adds a bias, stores the sum and applies the activation.
// libtorch only offers the epilogue without the stored sum, and training needs both.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace sp::cublaslt {

using at::Tensor;

// Computes h = x w^T + bias and a = gelu(h) in one product: x [M, K], w [N, K], bias [N], h and a [M, N], all
// bfloat16 on CUDA and dense. Returns false, and writes nothing, if cuBLASLt is missing or has no algorithm for it.
bool linear_gelu(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& h, const Tensor& a);

// Returns the products used so far, one shape per line, with the milliseconds of the chosen algorithm.
std::string choices();

}  // namespace sp::cublaslt
