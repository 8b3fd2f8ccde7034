// Queries and keys out of packed queries, keys and values: each head's vector by its root mean square and a weight, with
// the gradients.
//
// E, W: types of the elements and of the weights; HEADS; SIZE: channels of a head; VEC: channels of a pack; LANES, a power
// of two, lanes of a warp for one vector, so that a warp takes several at once.
#include "common.cuh"

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

// q and k [rows, HEADS, SIZE] of qkv [rows, 3, HEADS, SIZE].
extern "C" __global__ void __launch_bounds__(256)
    qk_norm(const E* qkv, const W* q_weight, const W* k_weight, E* q, E* k, int rows, float eps) {
  const int vectors = rows * 2 * HEADS;
  float weights[2][PACKS][VEC];
  load_weights(q_weight, weights[0]);
  load_weights(k_weight, weights[1]);
  // All lanes of a warp go round equally often, as their sums ask for.
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
    const float r = scale_of(x, eps);
    E* to = (key ? k : q) + (wide)row * HIDDEN + (key ? part - HEADS : part) * SIZE;
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
      if (!inside || channel(p) >= SIZE) continue;
#pragma unroll
      for (int i = 0; i < VEC; ++i) x[p][i] *= r * (key ? weights[1][p][i] : weights[0][p][i]);
      store(to + channel(p), x[p]);
    }
  }
}

// Where a gradient [images, tokens, HEADS, SIZE] lies, whose channels are dense.
struct Strides {
  wide image, token, head;
};

// The packed gradient, and for each block the sums for the two weights: sums [blocks, 2, SIZE].
extern "C" __global__ void __launch_bounds__(256)
    qk_norm_backward(const E* qkv, const W* q_weight, const W* k_weight, const E* dq, const E* dk, const E* dv,
                     E* dqkv, float* sums, Strides q_strides, Strides k_strides, Strides v_strides, int rows,
                     int tokens, float eps) {
  __shared__ float total[GROUPS][2][SIZE];
  const int vectors = rows * 3 * HEADS;
  float weights[2][PACKS][VEC], found[2][PACKS][VEC];
  load_weights(q_weight, weights[0]);
  load_weights(k_weight, weights[1]);
#pragma unroll
  for (int p = 0; p < PACKS; ++p) {
    clear(found[0][p]);
    clear(found[1][p]);
  }
  for (int base = blockIdx.x * GROUPS; base < vectors; base += gridDim.x * GROUPS) {
    const int vector = base + (int)threadIdx.x / LANES, row = vector / (3 * HEADS), part = vector % (3 * HEADS);
    const int kind = part / HEADS, head = part % HEADS;
    const bool inside = vector < vectors;
    const Strides& strides = kind == 0 ? q_strides : kind == 1 ? k_strides : v_strides;
    const E* from = (kind == 0 ? dq : kind == 1 ? dk : dv) + row / tokens * strides.image +
                    row % tokens * strides.token + head * strides.head;
    const wide at = (wide)row * 3 * HIDDEN + part * SIZE;
    float x[PACKS][VEC], d[PACKS][VEC], along = 0;
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
      clear(x[p]);
      clear(d[p]);
      if (!inside || channel(p) >= SIZE) continue;
      load(from + channel(p), d[p]);
      if (kind < 2) load(qkv + at + channel(p), x[p]);
    }
    const float r = scale_of(x, eps);
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
#pragma unroll
      for (int i = 0; i < VEC; ++i) {
        x[p][i] *= r;
        const float product = d[p][i] * x[p][i];
        if (kind == 0) found[0][p][i] += product;
        if (kind == 1) found[1][p][i] += product;
        if (kind < 2 && channel(p) < SIZE) d[p][i] *= kind == 0 ? weights[0][p][i] : weights[1][p][i];
        along += d[p][i] * x[p][i];
      }
    }
    along = sum_lanes<LANES>(along) * (1.0f / SIZE);
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
      if (!inside || channel(p) >= SIZE) continue;
      if (kind < 2) {
#pragma unroll
        for (int i = 0; i < VEC; ++i) d[p][i] = (d[p][i] - x[p][i] * along) * r;
      }
      store(dqkv + at + channel(p), d[p]);
    }
  }
#pragma unroll
  for (int p = 0; p < PACKS; ++p) {
    if (channel(p) >= SIZE) continue;
#pragma unroll
    for (int i = 0; i < VEC; ++i) {
      total[threadIdx.x / LANES][0][channel(p) + i] = found[0][p][i];
      total[threadIdx.x / LANES][1][channel(p) + i] = found[1][p][i];
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < 2 * SIZE; i += blockDim.x) {
    float all = 0;
    for (int group = 0; group < GROUPS; ++group) all += total[group][i / SIZE][i % SIZE];
    sums[(wide)blockIdx.x * 2 * SIZE + i] = all;
  }
}
