// Layer norm without weights and modulation: y = norm(x) (1 + scale) + shift, with its gradients.
//
// X, Y, C: types of the tokens, the result and the modulation; SIZE: channels of a token; VEC: channels of a pack.
// A warp takes one token at a time and keeps it in registers, so that x is read once; a block takes a part of an image, whose
// modulation stays in registers too.
#include "common.cuh"

#define WARPS 8
#define PACKS ((SIZE / VEC + 31) / 32)

__device__ inline int channel(int pack) { return (pack * 32 + (int)threadIdx.x % 32) * VEC; }

extern "C" __global__ void __launch_bounds__(32 * WARPS)
    norm_modulate(const X* x, const C* shift, const C* scale, Y* y, float* mean, float* rstd, wide shift_stride,
                  wide scale_stride, int tokens, int parts, float eps) {
  const int image = blockIdx.x / parts, warp = threadIdx.x / 32;
  const Range rows(blockIdx.x % parts, parts, tokens);
  float a[PACKS][VEC], b[PACKS][VEC];
#pragma unroll
  for (int p = 0; p < PACKS; ++p) {
    if (channel(p) >= SIZE) continue;
    load(shift + image * shift_stride + channel(p), a[p]);
    load(scale + image * scale_stride + channel(p), b[p]);
  }
  for (int row = rows.first + warp; row < rows.last; row += WARPS) {
    const wide at = (wide)image * tokens + row;
    float v[PACKS][VEC], total = 0, squares = 0;
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
      if (channel(p) < SIZE)
        load(x + at * SIZE + channel(p), v[p]);
      else
        clear(v[p]);
#pragma unroll
      for (int i = 0; i < VEC; ++i) total += v[p][i];
    }
    const float centre = sum_lanes<32>(total) * (1.0f / SIZE);
#pragma unroll
    for (int p = 0; p < PACKS; ++p)
#pragma unroll
      for (int i = 0; i < VEC; ++i) {
        v[p][i] -= centre;
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
      mean[at] = centre;
      rstd[at] = r;
    }
  }
}

// dx, and for each part of an image the sums over its tokens of dy and of dy norm(x): sums [images, parts, 2, SIZE].
extern "C" __global__ void __launch_bounds__(32 * WARPS)
    norm_modulate_backward(const Y* dy, const X* x, const C* scale, const float* mean, const float* rstd, X* dx,
                           float* sums, wide scale_stride, int tokens, int parts) {
  __shared__ float total[2][SIZE];
  const int image = blockIdx.x / parts, warp = threadIdx.x / 32;
  const Range rows(blockIdx.x % parts, parts, tokens);
  float b[PACKS][VEC], plain[PACKS][VEC], along[PACKS][VEC];
#pragma unroll
  for (int p = 0; p < PACKS; ++p) {
    clear(plain[p]);
    clear(along[p]);
    if (channel(p) < SIZE) load(scale + image * scale_stride + channel(p), b[p]);
  }
  for (int row = rows.first + warp; row < rows.last; row += WARPS) {
    const wide at = (wide)image * tokens + row;
    const float centre = mean[at], r = rstd[at];
    float g[PACKS][VEC], normal[PACKS][VEC], first = 0, second = 0;
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
      if (channel(p) >= SIZE) continue;
      load(dy + at * SIZE + channel(p), g[p]);
      load(x + at * SIZE + channel(p), normal[p]);
#pragma unroll
      for (int i = 0; i < VEC; ++i) {
        normal[p][i] = (normal[p][i] - centre) * r;
        plain[p][i] += g[p][i];
        along[p][i] += g[p][i] * normal[p][i];
        g[p][i] *= b[p][i] + 1.0f;
        first += g[p][i];
        second += g[p][i] * normal[p][i];
      }
    }
    first = sum_lanes<32>(first) * (1.0f / SIZE);
    second = sum_lanes<32>(second) * (1.0f / SIZE);
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
      if (channel(p) >= SIZE) continue;
#pragma unroll
      for (int i = 0; i < VEC; ++i) g[p][i] = (g[p][i] - first - normal[p][i] * second) * r;
      store(dx + at * SIZE + channel(p), g[p]);
    }
  }
  // One warp after the other, so that the order of the sum is fixed.
  for (int turn = 0; turn < WARPS; ++turn) {
    if (turn == warp) {
#pragma unroll
      for (int p = 0; p < PACKS; ++p) {
        if (channel(p) >= SIZE) continue;
#pragma unroll
        for (int i = 0; i < VEC; ++i) {
          const int c = channel(p) + i;
          total[0][c] = (turn ? total[0][c] : 0.0f) + plain[p][i];
          total[1][c] = (turn ? total[1][c] : 0.0f) + along[p][i];
        }
      }
    }
    __syncthreads();
  }
  for (int i = threadIdx.x; i < 2 * SIZE; i += blockDim.x) sums[(wide)blockIdx.x * 2 * SIZE + i] = total[i / SIZE][i % SIZE];
}

// Adds the parts up: the gradients of shift and scale, each [images, SIZE].
extern "C" __global__ void __launch_bounds__(256)
    norm_modulate_sums(const float* sums, D* dshift, D* dscale, int images, int parts) {
  const wide i = (wide)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= (wide)images * SIZE) return;
  const wide image = i / SIZE, c = i % SIZE;
  float plain = 0, along = 0;
  for (int part = 0; part < parts; ++part) {
    plain += sums[((image * parts + part) * 2) * SIZE + c];
    along += sums[((image * parts + part) * 2 + 1) * SIZE + c];
  }
  put(dshift[i], plain);
  put(dscale[i], along);
}
