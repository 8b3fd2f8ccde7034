// The loops of the fused operators: plain C++ over arrays, compiled once for each instruction set.
//
// A kernel does one task, some tokens or channels of one image, on the calling thread; fused.cpp and corrected.cpp make
// the tasks and share them out. Nothing here may include a header whose inline functions other files use too: the linker
// keeps one copy of such a function, and it might be the one for a processor that is not there.
#pragma once
#include <stdint.h>

namespace sp {

// How elements are stored; sums are float32 always.
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

// A matrix in strips of up to STRIP rows, for which one run of columns is read: `weights` [length, STRIP].
constexpr int STRIP = 4;
struct Strip {
  int32_t row, rows, start, length;
  const float* weights;
};
struct Strips {
  const Strip* strips;
  int64_t count;
};

// A linear filter of a token grid. Without `back` it is forth X forth^T. With it, it is Q^T (gains * (Q X Q^T)) Q with gains
// [kept, kept], where rows of Q are even or odd and so see half a line: `forth` takes the sums and then the differences of
// opposite tokens to waves, and `back` is its transpose.
struct Filter {
  Strips forth, back;
  const float* gains;
  int64_t kept;
  // Backward, where the matrix M [grid, grid] wants a gradient: the runs of its rows, else null.
  const int32_t *start, *length;
};

// Some channels of one image of x + gate (whole m + the sum of parts[k] F_k(m)), and of its gradients.
constexpr int64_t SLAB = 128;
struct Slab {
  Storage x_storage, m_storage;
  const void* x;          // forward: x; backward: the gradient of the output
  const void* m;
  const float* gate;      // [size]
  const Filter* filters;  // backward: the transposed ones
  int64_t count;          // of filters
  float whole;
  const float* parts;     // [count]
  int64_t grid, size;     // at most SLAB channels
  int64_t stride;         // between tokens
  void* out;              // forward: the output; backward: the gradient of m
  float* scratch;         // corrected_scratch numbers
  // Backward. Added to: [1 + count, stride], the gradient times m, the filtered gradients times m.
  float* sums;
  // Written: [count, grid, grid], the gradients of those matrices that want one, in their runs.
  float* matrices;
};

// One head of one image: `count` tokens of `size` numbers, `stride` apart, those of the values `v_stride`.
struct Attention {
  const float *q, *k, *v;
  int64_t count, size, stride, v_stride;
  float* out;        // forward: the mixed values; backward: the same, read
  float* log_sums;   // [count], forward: written; backward: read
  const float* grad; // backward: the gradient of the output
  float *dq, *dk, *dv;
  float* scratch;    // attention_scratch numbers
};

struct Kernels {
  const char* name;

  // y = norm(x) (1 + scale) + shift, with the mean and reciprocal deviation of each of `rows` tokens.
  void (*norm_modulate)(Storage storage, const void* x, const float* shift, const float* scale, void* y, float* mean,
                        float* rstd, int64_t rows, int64_t size, float eps);
  // dx, and [2, size] sums of dy and of dy norm(x), added to.
  void (*norm_modulate_backward)(Storage storage, const void* dy, const void* x, const float* scale, const float* mean,
                                 const float* rstd, void* dx, float* sums, int64_t rows, int64_t size);

  void (*gated)(const Gated& task);
  void (*gated_backward)(const Gated& task);

  int64_t (*corrected_scratch)(int64_t grid, int64_t filters);
  void (*corrected)(const Slab& task);
  void (*corrected_backward)(const Slab& task);

  // Queries and keys [rows, heads * size] of packed queries, keys and values [rows, 3 * heads * size].
  void (*qk_norm)(const float* qkv, const float* q_weight, const float* k_weight, float* q, float* k, int64_t rows,
                  int64_t heads, int64_t size, float eps);
  // The packed gradient, and [2, size] sums for the weights, added to.
  void (*qk_norm_backward)(const float* qkv, const float* q_weight, const float* k_weight, const float* dq,
                           const float* dk, const float* dv, float* dqkv, float* sums, int64_t rows, int64_t heads,
                           int64_t size, float eps);

  // GELU by its approximation with tanh, in place or not.
  void (*gelu)(const float* x, float* y, int64_t count);
  // Turns dy into dx in place and computes y again.
  void (*gelu_backward)(const float* x, float* dy_dx, float* y, int64_t count);

  int64_t (*attention_scratch)(int64_t count, int64_t size, bool backward);
  void (*attention)(const Attention& task);
  void (*attention_backward)(const Attention& task);
};

const Kernels& kernels_base();
const Kernels& kernels_avx2();
const Kernels& kernels_avx512();

}  // namespace sp
