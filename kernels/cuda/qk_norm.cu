// Queries and keys from packed queries, keys and values: each head's vector is normalized by its root mean square,
// weighted and, with ROTATE=1, rotated by rotary positions, with the gradients. With NORM=0 it is only rotated.
//
// E, W: types of the elements and of the weights; HEADS; SIZE: channels of a head; VEC: channels of a pack; LANES,
// a power of two: lanes of a warp for one vector, so that a warp takes several at once; ROWS: tokens per block in
// the backward pass.
#include "common.cuh"

#ifndef NORM
#define NORM 1
#endif
#ifndef ROTATE
#define ROTATE 0
#endif
#define GROUPS (256 / LANES)
#define PACKS ((SIZE / VEC + LANES - 1) / LANES)
#define HIDDEN (HEADS * SIZE)

__device__ inline int channel(int pack) { return (pack * LANES + (int)threadIdx.x % LANES) * VEC; }

__device__ inline float scale_of(const float (&x)[PACKS][VEC], float eps) {
  float squares = 0;
#pragma unroll
  for (int p = 0; p < PACKS; ++p)
#pragma unroll
    for (int i = 0; i < VEC; ++i) squares += x[p][i] * x[p][i];
  return rsqrtf(sum_lanes<LANES>(squares) * (1.0f / SIZE) + eps);
}

__device__ inline void load_weights(const W* weight, float (&to)[PACKS][VEC]) {
#pragma unroll
  for (int p = 0; p < PACKS; ++p)
    if (channel(p) < SIZE) load(weight + channel(p), to[p]);
}

// Rotates the pairs of channels of a pack by the angles of the tables, or back by a factor of -1.
__device__ inline void rotate(const float* cos, const float* sin, wide at, float way, float (&x)[VEC]) {
  float c[VEC], s[VEC];
  load(cos + at, c);
  load(sin + at, s);
#pragma unroll
  for (int i = 0; i + 1 < VEC; i += 2) {
    const float a = x[i], b = x[i + 1];
    x[i] = a * c[i] - b * (way * s[i]);
    x[i + 1] = b * c[i + 1] + a * (way * s[i + 1]);
  }
}

// Computes q and k [rows, HEADS, SIZE] from qkv [rows, 3, HEADS, SIZE]. The tables of a rotation are [tokens, SIZE] for
// each image, `table_step` rows apart.
extern "C" __global__ void __launch_bounds__(256)
    qk_norm(const E* qkv, const W* q_weight, const W* k_weight, const float* cos, const float* sin, E* q, E* k,
            int rows, int tokens, wide table_step, float eps) {
  const int vectors = rows * 2 * HEADS;
#if NORM
  float weights[2][PACKS][VEC];
  load_weights(q_weight, weights[0]);
  load_weights(k_weight, weights[1]);
#endif
  // All lanes of a warp run equally many iterations, as their sums require.
  for (int base = blockIdx.x * GROUPS; base < vectors; base += gridDim.x * GROUPS) {
    const int vector = base + (int)threadIdx.x / LANES, row = vector / (2 * HEADS), part = vector % (2 * HEADS);
    const bool inside = vector < vectors, key = part >= HEADS;
    float x[PACKS][VEC];
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
      if (inside && channel(p) < SIZE)
        load(qkv + (wide)row * 3 * HIDDEN + part * SIZE + channel(p), x[p]);
      else
        clear(x[p]);
    }
#if NORM
    const float r = scale_of(x, eps);
#endif
    E* to = (key ? k : q) + (wide)row * HIDDEN + (key ? part - HEADS : part) * SIZE;
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
      if (!inside || channel(p) >= SIZE) continue;
#if NORM
#pragma unroll
      for (int i = 0; i < VEC; ++i) x[p][i] *= r * (key ? weights[1][p][i] : weights[0][p][i]);
#endif
#if ROTATE
      rotate(cos, sin, (row / tokens * table_step + row % tokens) * SIZE + channel(p), 1.0f, x[p]);
#endif
      store(to + channel(p), x[p]);
    }
  }
}

// Strides of a gradient [images, tokens, HEADS, SIZE] with dense channels.
struct Strides {
  wide image, token, head;
};

// A row of threads takes the 3 HEADS vectors of a token; a block takes ROWS tokens at once.
#define PARTS (3 * HEADS)
#define ROW_THREADS (PARTS * LANES)
#define BLOCK_THREADS ((ROWS * ROW_THREADS + 31) / 32 * 32)
// Whether all lanes of a warp have vectors of one kind, so that values can skip the sums of their warp.
#define UNIFORM (HEADS * LANES % 32 == 0)
// Number of tokens that a thread has in flight to hide memory latency, if registers suffice.
#define AHEAD (ROW_THREADS > 512 ? 1 : 2)

// Computes the packed gradient and, for each block, the sums for the two weights, sums [blocks, 2, SIZE], and the
// column sums of the gradient, columns [blocks, 3, HEADS, SIZE].
extern "C" __global__ void __launch_bounds__(BLOCK_THREADS)
    qk_norm_backward(const E* qkv, const W* q_weight, const W* k_weight, const float* cos, const float* sin,
                     const E* dq, const E* dk, const E* dv, E* dqkv, float* sums, float* columns, Strides q_strides,
                     Strides k_strides, Strides v_strides, int rows, int tokens, wide table_step, float eps) {
  __shared__ float total[ROWS * PARTS][SIZE];
  const int part = (int)threadIdx.x / LANES % PARTS, own = (int)threadIdx.x / ROW_THREADS;
  const int kind = part / HEADS, head = part % HEADS;
  const Strides strides = kind == 0 ? q_strides : kind == 1 ? k_strides : v_strides;
  const E* from = (kind == 0 ? dq : kind == 1 ? dk : dv) + head * strides.head;
  float weight[PACKS][VEC], along_sum[PACKS][VEC], column_sum[PACKS][VEC];
#pragma unroll
  for (int p = 0; p < PACKS; ++p) {
    clear(weight[p]);
    clear(along_sum[p]);
    clear(column_sum[p]);
  }
  if (NORM && kind < 2) load_weights(kind == 0 ? q_weight : k_weight, weight);
  // All threads run equally many iterations, as the sums of their warps require.
  for (int base = blockIdx.x * ROWS * AHEAD; base < rows; base += gridDim.x * ROWS * AHEAD) {
    float x[AHEAD][PACKS][VEC], d[AHEAD][PACKS][VEC];
#pragma unroll
    for (int turn = 0; turn < AHEAD; ++turn) {
      const int row = base + turn * ROWS + own;
      const bool inside = own < ROWS && row < rows;
      const wide there = row / tokens * strides.image + row % tokens * strides.token;
#pragma unroll
      for (int p = 0; p < PACKS; ++p) {
        clear(x[turn][p]);
        clear(d[turn][p]);
        if (!inside || channel(p) >= SIZE) continue;
        load(from + there + channel(p), d[turn][p]);
#if ROTATE
        if (kind < 2)
          rotate(cos, sin, (row / tokens * table_step + row % tokens) * SIZE + channel(p), -1.0f, d[turn][p]);
#endif
        if (NORM && kind < 2) load(qkv + (wide)row * 3 * HIDDEN + part * SIZE + channel(p), x[turn][p]);
      }
    }
#pragma unroll
    for (int turn = 0; turn < AHEAD; ++turn) {
      const int row = base + turn * ROWS + own;
      float r = 0, along = 0;
      if (NORM && (!UNIFORM || kind < 2)) {
        r = scale_of(x[turn], eps);
#pragma unroll
        for (int p = 0; p < PACKS; ++p)
#pragma unroll
          for (int i = 0; i < VEC; ++i) {
            x[turn][p][i] *= r;
            along_sum[p][i] += d[turn][p][i] * x[turn][p][i];
            if (kind < 2) d[turn][p][i] *= weight[p][i];
            along += d[turn][p][i] * x[turn][p][i];
          }
        along = sum_lanes<LANES>(along) * (1.0f / SIZE);
      }
#pragma unroll
      for (int p = 0; p < PACKS; ++p) {
        if (own >= ROWS || row >= rows || channel(p) >= SIZE) continue;
#pragma unroll
        for (int i = 0; i < VEC; ++i) {
          if (NORM && kind < 2) d[turn][p][i] = (d[turn][p][i] - x[turn][p][i] * along) * r;
          column_sum[p][i] += d[turn][p][i];
        }
        store(dqkv + (wide)row * 3 * HIDDEN + part * SIZE + channel(p), d[turn][p]);
      }
    }
  }
  // Each thread stores its results for its part of its row, then rows are added up, and for the weights also heads.
  for (int which = 0; which < 2; ++which) {
    __syncthreads();
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
      if (own >= ROWS || channel(p) >= SIZE) continue;
#pragma unroll
      for (int i = 0; i < VEC; ++i)
        total[own * PARTS + part][channel(p) + i] = which == 0 ? column_sum[p][i] : along_sum[p][i];
    }
    __syncthreads();
    const int count = which == 0 ? PARTS * SIZE : 2 * SIZE, heads = which == 0 ? 1 : HEADS;
    float* to = which == 0 ? columns + (wide)blockIdx.x * PARTS * SIZE : sums + (wide)blockIdx.x * 2 * SIZE;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
      float all = 0;
      for (int row = 0; row < ROWS; ++row)
        for (int h = 0; h < heads; ++h) all += total[row * PARTS + i / SIZE * heads + h][i % SIZE];
      to[i] = all;
    }
  }
}
