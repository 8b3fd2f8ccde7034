// The fused operators on a device for which we have kernels. Each returns nothing if the kernels do not apply: an
// unsupported dtype, layout or size, or kernels that could not be compiled.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

#include "fused.h"

namespace sp::device {

using at::Tensor;

std::optional<Tensor> norm_modulate(const Tensor& x, const Tensor& shift, const Tensor& scale, bool centered);
std::optional<Stream> stream_norm(const Tensor& x, const Tensor& m, const Tensor& gate, const Tensor& shift,
                                  const Tensor& scale, bool centered);
std::optional<Tensor> gated_add(const Tensor& x, const Tensor& m, const Tensor& gate);
std::optional<Tensor> gated_add_corrected(const Tensor& x, const Tensor& m, const Tensor& gate,
                                          const Correction& correction);
std::optional<Tensor> attend(const Tensor& qkv, const Tensor& q_weight, const Tensor& k_weight, int64_t heads,
                             double eps, const Rotation& rotation);
std::optional<Tensor> mlp(const Tensor& x, const Tensor& w1, const Tensor& b1, const Tensor& w2, const Tensor& b2);
std::optional<Tensor> linear(const Tensor& x, const Tensor& weight, const Tensor& bias);

// Computes attention with the fastest libtorch backend for the shape, benchmarked once; q, k, v [B, H, N, D].
Tensor mix(const Tensor& q, const Tensor& k, const Tensor& v);
// Returns the choices so far, one shape per line.
std::string choices();

}  // namespace sp::device
