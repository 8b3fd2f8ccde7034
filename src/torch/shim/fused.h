// Operators that read and write each token once; see fused.cpp.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

namespace sp {

// Linear filter F of the token grid.
struct GridFilter {
  // M [1, G, G] of F(X) = M X M^T or, with gains, Q [1, K, G] of F(X) = Q^T (gains * (Q X Q^T)) Q.
  at::Tensor matrix;
  at::Tensor gains;  // [1, K, K, 1], or undefined
};
// Filters from coarse to fine, and the coefficients of the bands between them.
struct Correction {
  at::Tensor coefficients;  // g_1 to g_k, [B, k] or [B, k, D]
  std::vector<GridFilter> filters;  // k - 1
};

// Switches the CPU operators on or off on this thread; returns the previous state.
bool switch_fused(bool on);
// Returns the instruction set of the CPU operators in use.
const char* cpu_operators();

// Computes norm(x) (1 + scale) + shift: x [B, N, D], shift and scale [B, 1, D].
// The norm is layer norm, or RMSNorm if it is not centered.
at::Tensor norm_modulate(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale, bool centered = true);

// The residual stream [B, N, D] and its modulated layer norm.
struct Stream {
  at::Tensor x, y;
};
// Computes x + gate m, or x alone if m and gate are undefined, and its norm_modulate: the backward pass adds the
// gradients of the stream and of the norm in one pass.
Stream stream_norm(const at::Tensor& x, const at::Tensor& m, const at::Tensor& gate, const at::Tensor& shift,
                   const at::Tensor& scale, bool centered = true);

// Computes x + gate m, gate [B, 1, D].
at::Tensor gated_add(const at::Tensor& x, const at::Tensor& m, const at::Tensor& gate);

// Computes gated_add with corrections: each adds g_k r + sum of (g_i - g_{i + 1}) F_i(r), where r = gate m. Without x
// and gate, which are undefined then, r = m and x = 0.
at::Tensor gated_add_corrected(const at::Tensor& x, const at::Tensor& m, const at::Tensor& gate,
                               const std::vector<Correction>& corrections);

// Computes norm_modulate, or gated_add, with corrections of its result r: each adds g_k r + sum of
// (g_i - g_{i + 1}) F_i(r).
at::Tensor norm_modulate_corrected(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale, bool centered,
                                   const std::vector<Correction>& corrections);
at::Tensor stream_corrected(const at::Tensor& x, const at::Tensor& m, const at::Tensor& gate,
                            const std::vector<Correction>& corrections);

// Cosines and sines of the rotation of queries and keys, [1 or B, N, D] for heads of D channels, both the same for
// channels 2i and 2i + 1; undefined without a rotation.
struct Rotation {
  at::Tensor cos, sin;
};
// Computes attention of packed queries, keys and values [B, N, 3 D]; queries and keys are normalized and weighted
// per head, unless both weights are undefined, and then rotated. A negative epsilon stands for that of the dtype.
at::Tensor attend(const at::Tensor& qkv, const at::Tensor& q_weight, const at::Tensor& k_weight, int64_t heads,
                  double eps = -1, const Rotation& rotation = {});

// Two linear maps with a tanh-approximated GELU between them.
at::Tensor mlp(const at::Tensor& x, const at::Tensor& w1, const at::Tensor& b1, const at::Tensor& w2,
               const at::Tensor& b2);

// The tanh-approximated GELU of `mlp`, rounded as there.
at::Tensor gelu(const at::Tensor& x);

// Computes scale tanh(W2 silu(W1 c + b1) + b2) for embeddings c [B, D], W2 [outputs, inner].
at::Tensor gate(const at::Tensor& c, const at::Tensor& w1, const at::Tensor& b1, const at::Tensor& w2,
                const at::Tensor& b2, double scale);

// Computes x @ weight^T + bias with the fastest library for the processor.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

}  // namespace sp
