// The loops of the fused operators: plain C++ over arrays, compiled once for each instruction set.
//
// A kernel does one task, a range of tokens of one image, on the calling thread; fused.cpp makes the tasks and
// shares them out. Nothing here may include a header whose inline functions other files use too: the linker
// keeps one copy of such a function, and it might be the one for a processor that is not there.
#pragma once
#include <stdint.h>

namespace sp {

// How elements are stored; sums are float32 always.
enum Storage { F32 = 0, BF16 = 1 };

// A matrix [rows, rows] whose rows hold one run of entries each: row i has `length[i]` of them from column
// `start[i]` on, at `weights + i * width`.
struct Band {
  const int32_t* start;
  const int32_t* length;
  const float* weights;
  int32_t width;
};

// One image's part of x + gate * (a m + b F(m)), and of its gradients. Tokens lie on a grid of `grid` x `grid`,
// `size` channels each. Without a filter `band` is null, a is 1 and tokens are counted as rows of width 1.
struct Gated {
  Storage x_storage, m_storage;
  const void* x;        // forward: x; backward: the gradient of the output
  const void* m;
  const float* gate;    // [size]
  const Band* band;     // forward: the filter's matrix; backward: its transpose
  float a, b;
  int64_t grid, size;
  int64_t first, last;  // rows of the grid
  void* out;            // forward: the output; backward: the gradient of m
  float* scratch;       // [2, grid, size], for a filter
  float* sums;          // backward: [2, size], added to: the gradient times m, the filtered gradient times m
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
