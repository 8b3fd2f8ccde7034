// Operators that read and write each token once; see fused.cpp.
#pragma once
#include <ATen/core/Tensor.h>

namespace sp {

// Switches the loops on or off on this thread; returns what was before.
bool switch_fused(bool on);
// For which processor the loops in use were compiled.
const char* loops();

// norm(x) (1 + scale) + shift: x [B, N, D], shift and scale [B, 1, D].
at::Tensor norm_modulate(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale);

// x + r, or with coefficients [B, 2] x + (1 + high) r + (low - high) F(r), where r = gate m, gate is [B, 1, D] and F
// multiplies the rows and the columns of the token grid by `matrix` [1, G, G].
at::Tensor gated_add(const at::Tensor& x, const at::Tensor& m, const at::Tensor& gate, const at::Tensor& coefficients,
                     const at::Tensor& matrix);

// Attention of packed queries, keys and values [B, N, 3 D], queries and keys normalised and weighted per head.
at::Tensor attend(const at::Tensor& qkv, const at::Tensor& q_weight, const at::Tensor& k_weight, int64_t heads);

// Two linear maps with a tanh-approximated GELU between them.
at::Tensor mlp(const at::Tensor& x, const at::Tensor& w1, const at::Tensor& b1, const at::Tensor& w2,
               const at::Tensor& b2);

// x @ weight^T + bias by the fastest library for the processor.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

}  // namespace sp
