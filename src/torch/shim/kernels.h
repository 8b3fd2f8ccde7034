// CPU operators: plain C++ over arrays, compiled once for each instruction set.
//
// Each function runs one task, some tokens or channels of one image, on the calling thread; fused.cpp and
// corrected.cpp create the tasks and distribute them. Nothing here may include a header whose inline functions
// other files use too: the linker keeps one copy of such a function, and it might be compiled for an instruction
// set that the processor lacks.
#pragma once
#include <stdint.h>

namespace sp {

// Storage of elements; sums are always float32.
enum Storage { F32 = 0, BF16 = 1 };

// Some tokens of one image of x + gate m, and of its gradients.
struct Gated {
  Storage x_storage, m_storage;
  const void* x;      // forward: x; backward: the gradient of the output
  const void* m;
  const float* gate;  // [size]
  int64_t count, size;
  void* out;          // forward: the output; backward: the gradient of m
  float* sums;        // backward: [size], added to: the gradient times m
};

// Matrix in strips of up to STRIP rows that share one run of columns: `weights` [length, STRIP].
constexpr int STRIP = 4;
struct Strip {
  int32_t row, rows, start, length;
  const float* weights;
};
struct Strips {
  const Strip* strips;
  int64_t count;
};

// Linear filter of a token grid. Without `back` it is forth X forth^T. With `back` it is Q^T (gains * (Q X Q^T)) Q
// with gains [kept, kept], where rows of Q are even or odd and so only need half a line: `forth` maps the sums and
// then the differences of opposite tokens to waves, and `back` is its transpose.
struct Filter {
  Strips forth, back;
  const float* gains;
  int64_t kept;
  // Backward, if the matrix M [grid, grid] needs a gradient: the runs of its rows, else null.
  const int32_t *start, *length;
};

// Some channels of one image of x + gate (whole m + sum of parts[k] F_k(m)), and of its gradients. The factors,
// whole and parts, are one number each or, with `channels`, one per channel.
constexpr int64_t CHANNELS_PER_TASK = 128;
constexpr int64_t MOST_FILTERS = 16, MOST_SOON = 4;
// Channels of an image's tokens that are read or written soon, or null.
struct Soon {
  const void* tokens;
  Storage storage;
};
struct CorrectedTask {
  Storage x_storage, m_storage;
  const void* x;          // forward: x, or null for 0; backward: the gradient of the output
  const void* m;
  const float* gate;      // [size], or null for 1
  const Filter* filters;  // backward: the transposed ones
  int64_t count;          // of filters, at most MOST_FILTERS
  const float* factors;   // whole and then the parts, `factor_step` apart
  int64_t factor_step;
  bool channels;
  int64_t grid, size;     // at most CHANNELS_PER_TASK channels
  int64_t stride;         // between tokens
  void* out;              // forward: the output; backward: the gradient of m
  Soon soon[MOST_SOON];   // fetched into the caches while filters run, in the layout of m
  float* scratch;         // corrected_scratch numbers
  // Backward, added to: [1 + count, stride], the gradient times m, then the filtered gradients times m.
  float* sums;
  // Backward, written: [count, grid, grid], the gradients of the matrices that need one, within their runs.
  float* matrices;
};

// Linear map of some tokens, and its gradients.
struct Linear {
  const float* x;        // [count, in]
  const float* panels;   // forward: of the weight [out, in], turned; backward: of it as it is
  const float* bias;     // [out]
  int64_t count, in, out;
  float* y;              // forward: [count, out]
  const float* dy;       // backward: [count, out]
  float* dx;             // backward: [count, in], or null
  // Backward: [out, in], rows of whole vectors, overwritten, and [out], added to; or null.
  float *dweight, *dbias;
  float* scratch;        // linear_scratch numbers
};

// Two linear maps with a tanh-approximated GELU between them, and the gradients.
struct Mlp {
  const float* x;             // [count, in]
  const float *first,
      *second;  // forward: panels of the weights [inner, in] and [out, inner], turned; backward: as they are
  const float *bias1, *bias2;
  int64_t count, in, inner, out;
  float* h;                   // [count, inner], before the GELU; forward: written unless null; backward: read
  float* y;                   // forward: [count, out]
  const float* dy;            // backward
  float* dx;                  // backward: or null
  float *dfirst, *dsecond, *dbias1, *dbias2;  // backward: as in Linear
  float* scratch;             // mlp_scratch numbers
};

// The part of a gate's network after its first map: y = scale tanh(weight silu(h) + bias), and its gradients.
struct Gate {
  const float* h;       // [count, inner]
  const float* weight;  // [outputs, inner], a few rows
  const float* bias;    // [outputs], forward
  float scale;
  int64_t count, inner, outputs;
  float* bounded;       // [count, outputs], the tanh; forward: written; backward: read
  float* y;             // forward: [count, outputs]
  const float* dy;      // backward: [count, outputs]
  float* dh;            // backward: [count, inner]
  float *dweight, *dbias;  // backward: [outputs, inner] and [outputs], added to
};
constexpr int64_t FEW_OUTPUTS = 8;

// One head of one image: `count` tokens with packed queries, keys and values of `size` numbers.
struct Attention {
  const float* qkv;  // the first query; its key and value lie `hidden` and 2 `hidden` behind, the next 3 `hidden`
  const float *q_weight, *k_weight;  // [size], of their RMSNorm; null without a norm
  const float *cos, *sin;  // [count, size], of the rotation of queries and keys after their norm; null without one
  int64_t count, size, hidden;
  float eps;
  float* out;         // forward: the mixed values, `hidden` apart; backward: the same, read
  float* log_sums;    // [count], in powers of two. Forward: written; backward: read
  const float* grad;  // backward: the gradient of the output
  float* dqkv;        // backward: the packed gradient
  float* sums;        // backward: [2, size], the gradients of both weights, added to
  float* scratch;     // attention_scratch numbers
};

struct Kernels {
  const char* name;

  // Computes y = norm(x) (1 + scale) + shift, with the mean and reciprocal deviation of each of `rows` tokens. A norm
  // that is not centered takes 0 for the mean: RMSNorm.
  void (*norm_modulate)(Storage storage, bool centered, const void* x, const float* shift, const float* scale, void* y,
                        float* mean, float* rstd, int64_t rows, int64_t size, float eps);
  // Computes the same y from the means and reciprocal deviations.
  void (*modulate_again)(Storage storage, const void* x, const float* shift, const float* scale, void* y,
                         const float* mean, const float* rstd, int64_t rows, int64_t size);
  // Computes dx, and adds the sums of dy and of dy norm(x) to `sums` [2, size].
  void (*norm_modulate_backward)(Storage storage, bool centered, const void* dy, const void* x, const float* scale,
                                 const float* mean, const float* rstd, void* dx, float* sums, int64_t rows,
                                 int64_t size);

  void (*gated)(const Gated& task);
  void (*gated_backward)(const Gated& task);

  int64_t (*corrected_scratch)(int64_t grid, int64_t filters);
  void (*corrected)(const CorrectedTask& task);
  void (*corrected_backward)(const CorrectedTask& task);

  // Number of elements of a matrix [depth, columns] in panels of columns; number of columns in a panel, and in a
  // vector.
  int64_t (*panels_size)(int64_t depth, int64_t columns);
  int64_t panel, vector;
  // Writes the panel from `column` on of a matrix [depth, columns], or of the transpose of [columns, depth].
  void (*pack)(const float* matrix, bool turned, int64_t depth, int64_t columns, int64_t column, float* to);

  // Computes tanh-approximated GELU, in place or not.
  void (*gelu)(Storage storage, const void* x, void* y, int64_t count);
  // Overwrites dy with dx and recomputes y unless it is null.
  void (*gelu_backward)(Storage storage, const void* x, void* dy_dx, void* y, int64_t count);

  int64_t (*linear_scratch)(int64_t in);
  void (*linear)(const Linear& task);
  void (*linear_backward)(const Linear& task);
  int64_t (*mlp_scratch)(int64_t in, int64_t out);
  void (*mlp)(const Mlp& task);
  void (*mlp_backward)(const Mlp& task);

  void (*gate)(const Gate& task);
  void (*gate_backward)(const Gate& task);
  // Operations around a second map that is computed elsewhere: silu(h); dh from da, in place; bounded = tanh(y) and
  // y = scale bounded, in place; dy = scale (1 - bounded^2) dy.
  void (*silu)(const float* h, float* a, int64_t count);
  void (*silu_backward)(const float* h, float* da_dh, int64_t count);
  void (*bound)(float* y, float* bounded, float scale, int64_t count);
  void (*bound_backward)(const float* bounded, const float* dy, float scale, float* du, int64_t count);

  int64_t (*attention_scratch)(int64_t count, int64_t size, bool backward);
  void (*attention)(const Attention& task);
  void (*attention_backward)(const Attention& task);
};

const Kernels& kernels_base();
const Kernels& kernels_avx2();
const Kernels& kernels_avx512();

}  // namespace sp
