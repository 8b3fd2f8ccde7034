// Tanh-approximated gelu(h + bias), with its gradients.
//
// E, C: types of h and of the bias; SIZE: channels of a row; VEC: channels of a pack; LANES x ROWS threads: packs
// of a slab of channels by rows.
#include "common.cuh"

#define SLABS ((SIZE / VEC + LANES - 1) / LANES)

// 0.5 x (1 + tanh(u)) = x s(2 u), with s the logistic function and u = sqrt(2 / pi) (x + 0.044715 x^3).
#define TWICE 1.5957691216f
#define CUBIC 0.044715f
__device__ inline float logistic_of(float x) { return 1.0f / (1.0f + __expf(-x * (x * x * CUBIC + 1.0f) * TWICE)); }

__device__ inline int channel() { return (int)(blockIdx.x % SLABS * LANES + threadIdx.x % LANES) * VEC; }

extern "C" __global__ void __launch_bounds__(LANES* ROWS)
    bias_gelu(const E* h, const C* bias, E* y, int rows, int parts) {
  const Range range(blockIdx.x / SLABS, parts, rows);
  if (channel() >= SIZE) return;
  float add[VEC];
  load(bias + channel(), add);
  for (int row = range.first + threadIdx.x / LANES; row < range.last; row += ROWS) {
    const wide at = (wide)row * SIZE + channel();
    float x[VEC];
    load(h + at, x);
#pragma unroll
    for (int i = 0; i < VEC; ++i) {
      x[i] += add[i];
      x[i] *= logistic_of(x[i]);
    }
    store(y + at, x);
  }
}

// Overwrites dy with dh, recomputes y, and sums dh over the rows of each part: sums [parts, SIZE]. With ACTIVATED=1
// a matrix product has done the forward pass: h already includes the bias, and y is already written.
extern "C" __global__ void __launch_bounds__(LANES* ROWS)
    bias_gelu_backward(const E* h, const C* bias, E* dy_dh, E* y, float* sums, int rows, int parts) {
  __shared__ float total[ROWS][LANES * VEC];
  const int lane = threadIdx.x % LANES, first = threadIdx.x / LANES;
  const Range range(blockIdx.x / SLABS, parts, rows);
  const bool inside = channel() < SIZE;
  float add[VEC], sum[VEC];
  clear(add);
  clear(sum);
  if (inside && !ACTIVATED) load(bias + channel(), add);
  for (int row = range.first + first; inside && row < range.last; row += ROWS) {
    const wide at = (wide)row * SIZE + channel();
    float x[VEC], d[VEC];
    load(h + at, x);
    load(dy_dh + at, d);
#pragma unroll
    for (int i = 0; i < VEC; ++i) {
      x[i] += add[i];
      const float s = logistic_of(x[i]), whole = x[i] * s;
      d[i] *= s + whole * (1.0f - s) * ((x[i] * x[i] * (3 * CUBIC) + 1.0f) * TWICE);
      x[i] = whole;
      sum[i] += d[i];
    }
    store(dy_dh + at, d);
    if (!ACTIVATED) store(y + at, x);
  }
#pragma unroll
  for (int i = 0; i < VEC; ++i) total[first][lane * VEC + i] = sum[i];
  __syncthreads();
  if (!inside || first) return;
#pragma unroll
  for (int i = 0; i < VEC; ++i) {
    float all = 0;
    for (int row = 0; row < ROWS; ++row) all += total[row][lane * VEC + i];
    sums[(wide)(blockIdx.x / SLABS) * SIZE + channel() + i] = all;
  }
}
