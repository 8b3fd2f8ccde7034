// Layer norm without weights and modulation, y = norm(x) (1 + scale) + shift, with its gradients; with GATED=1
// applied to the gated residual x + gate m, which is written too.
//
// X, M, Y, C, D: types of the tokens, of m, of the result, of gate, shift and scale, and of their gradients; SIZE:
// channels of a token; VEC: channels of a pack; WARPS: warps of a block. With CENTERED=0 the norm is RMSNorm, which
// does not subtract the mean.
//
// A warp takes one token at a time and keeps it in registers, so that x is read once; a block takes a part of an
// image and keeps the image's modulation in registers too.
#include "common.cuh"

#ifndef CENTERED
#define CENTERED 1
#endif
#define PACKS ((SIZE / VEC + 31) / 32)
// Number of sums over tokens in a backward pass: of dy and of dy norm(x) and, with a residual, of dx m and of gate
// dx.
#define SUMS (GATED ? 4 : 2)
// Whether registers suffice to issue all loads before the first use.
#define EARLY (PACKS * VEC <= 8)

__device__ inline int channel(int pack) { return (pack * 32 + (int)threadIdx.x % 32) * VEC; }

// Loads a vector of an image.
__device__ inline void load_vector(const C* from, float (&to)[PACKS][VEC]) {
#pragma unroll
  for (int p = 0; p < PACKS; ++p)
    if (channel(p) < SIZE) load(from + channel(p), to[p]);
}

extern "C" __global__ void __launch_bounds__(32 * WARPS)
    norm_modulate(const X* x, const M* m, const C* gate, const C* shift, const C* scale, X* sum, Y* y, float* mean,
                  float* rstd, wide gate_stride, wide shift_stride, wide scale_stride, int tokens, int parts,
                  float eps) {
  const int image = blockIdx.x / parts, warp = threadIdx.x / 32;
  const Range rows(blockIdx.x % parts, parts, tokens);
  float a[PACKS][VEC], b[PACKS][VEC], factor[PACKS][VEC];
  load_vector(shift + image * shift_stride, a);
  load_vector(scale + image * scale_stride, b);
  if (GATED) load_vector(gate + image * gate_stride, factor);
  for (int row = rows.first + warp; row < rows.last; row += WARPS) {
    const wide at = (wide)image * tokens + row;
    float v[PACKS][VEC], total = 0, squares = 0;
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
      if (channel(p) < SIZE)
        load(x + at * SIZE + channel(p), v[p]);
      else
        clear(v[p]);
      if (GATED && channel(p) < SIZE) {
        float r[VEC];
        load(m + at * SIZE + channel(p), r);
#pragma unroll
        for (int i = 0; i < VEC; ++i) v[p][i] = fmaf(factor[p][i], r[i], v[p][i]);
        store(sum + at * SIZE + channel(p), v[p]);
        // The norm takes the rounded value that was stored.
        if (sizeof(X) < sizeof(float)) load(sum + at * SIZE + channel(p), v[p]);
      }
#pragma unroll
      for (int i = 0; i < VEC; ++i) total += v[p][i];
    }
    const float center = CENTERED ? sum_lanes<32>(total) * (1.0f / SIZE) : 0.0f;
#pragma unroll
    for (int p = 0; p < PACKS; ++p)
#pragma unroll
      for (int i = 0; i < VEC; ++i) {
        v[p][i] -= center;
        if (channel(p) < SIZE) squares += v[p][i] * v[p][i];
      }
    const float r = rsqrtf(sum_lanes<32>(squares) * (1.0f / SIZE) + eps);
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
      if (channel(p) >= SIZE) continue;
#pragma unroll
      for (int i = 0; i < VEC; ++i) v[p][i] = v[p][i] * r * (b[p][i] + 1.0f) + a[p][i];
      store(y + at * SIZE + channel(p), v[p]);
    }
    if (threadIdx.x % 32 == 0) {
      mean[at] = center;
      rstd[at] = r;
    }
  }
}

// Computes dx, which includes the gradient `carried` of x as the residual stream (null if there is none), with
// GATED=1 also dm, and for each part of an image the sums over its tokens: sums [images, parts, SUMS, SIZE].
extern "C" __global__ void __launch_bounds__(32 * WARPS)
    norm_modulate_backward(const Y* dy, const X* carried, const X* x, const M* m, const C* gate, const C* scale,
                           const float* mean, const float* rstd, X* dx, M* dm, float* sums, wide gate_stride,
                           wide scale_stride, int tokens, int parts) {
  __shared__ float total[SUMS][SIZE];
  const int image = blockIdx.x / parts, warp = threadIdx.x / 32;
  const Range rows(blockIdx.x % parts, parts, tokens);
  float b[PACKS][VEC], factor[PACKS][VEC], found[SUMS][PACKS][VEC];
#pragma unroll
  for (int s = 0; s < SUMS; ++s)
#pragma unroll
    for (int p = 0; p < PACKS; ++p) clear(found[s][p]);
  load_vector(scale + image * scale_stride, b);
  if (GATED) load_vector(gate + image * gate_stride, factor);
  for (int row = rows.first + warp; row < rows.last; row += WARPS) {
    const wide at = (wide)image * tokens + row;
    const float center = mean[at], r = rstd[at];
    float g[PACKS][VEC], normal[PACKS][VEC], whole[PACKS][VEC], value[PACKS][VEC], first = 0, second = 0;
    auto load_stream = [&](int p) {
      if (carried)
        load(carried + at * SIZE + channel(p), whole[p]);
      else
        clear(whole[p]);
      if (GATED) load(m + at * SIZE + channel(p), value[p]);
    };
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
      if (channel(p) >= SIZE) continue;
      load(dy + at * SIZE + channel(p), g[p]);
      load(x + at * SIZE + channel(p), normal[p]);
      if (EARLY) load_stream(p);
    }
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
      if (channel(p) >= SIZE) continue;
#pragma unroll
      for (int i = 0; i < VEC; ++i) {
        normal[p][i] = (normal[p][i] - center) * r;
        found[0][p][i] += g[p][i];
        found[1][p][i] += g[p][i] * normal[p][i];
        g[p][i] *= b[p][i] + 1.0f;
        first += g[p][i];
        second += g[p][i] * normal[p][i];
      }
    }
    first = CENTERED ? sum_lanes<32>(first) * (1.0f / SIZE) : 0.0f;
    second = sum_lanes<32>(second) * (1.0f / SIZE);
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
      if (channel(p) >= SIZE) continue;
      if (!EARLY) load_stream(p);
#pragma unroll
      for (int i = 0; i < VEC; ++i) whole[p][i] += (g[p][i] - first - normal[p][i] * second) * r;
      store(dx + at * SIZE + channel(p), whole[p]);
      if (GATED) {
#pragma unroll
        for (int i = 0; i < VEC; ++i) {
          found[SUMS - 2][p][i] += whole[p][i] * value[p][i];
          whole[p][i] *= factor[p][i];
          found[SUMS - 1][p][i] += whole[p][i];
        }
        store(dm + at * SIZE + channel(p), whole[p]);
      }
    }
  }
  // One warp after the other, so that the order of the sum is fixed.
  for (int turn = 0; turn < WARPS; ++turn) {
    if (turn == warp) {
#pragma unroll
      for (int p = 0; p < PACKS; ++p) {
        if (channel(p) >= SIZE) continue;
#pragma unroll
        for (int s = 0; s < SUMS; ++s)
#pragma unroll
          for (int i = 0; i < VEC; ++i) {
            float& all = total[s][channel(p) + i];
            all = (turn ? all : 0.0f) + found[s][p][i];
          }
      }
    }
    __syncthreads();
  }
  for (int i = threadIdx.x; i < SUMS * SIZE; i += blockDim.x)
    sums[(wide)blockIdx.x * SUMS * SIZE + i] = total[i / SIZE][i % SIZE];
}

// Adds up the parts: the gradients of shift, scale and gate, each [images, SIZE], and the column sums of dm for
// each image.
extern "C" __global__ void __launch_bounds__(256)
    norm_modulate_sums(const float* sums, D* dshift, D* dscale, D* dgate, float* columns, int images, int parts) {
  const wide i = (wide)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= (wide)images * SIZE) return;
  const wide image = i / SIZE, c = i % SIZE;
  float found[SUMS];
  clear(found);
  for (int part = 0; part < parts; ++part)
#pragma unroll
    for (int s = 0; s < SUMS; ++s) found[s] += sums[((image * parts + part) * SUMS + s) * SIZE + c];
  put(dshift[i], found[0]);
  put(dscale[i], found[1]);
  if (!GATED) return;
  put(dgate[i], found[SUMS - 2]);
  columns[i] = found[SUMS - 1];
}
