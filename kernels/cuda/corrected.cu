// The spectral residual x + gate (a m + sum of b_f F_f(m)) on a grid of GRID x GRID tokens, with its gradients.
// From the coefficients g of FILTERS + 1 bands follow a = 1 + the last one and b_f = g_f - g_{f + 1}; with CHANNELS
// they are given per channel. F_f multiplies the rows and the columns of the grid by a matrix whose row i is zero
// outside the columns i - RADIUS to i + RADIUS. The gate and the coefficients are constant over the tokens, so they
// commute with F_f.
//
// X, M, C, K, D: types of x, of m, of the gate, of the coefficients and of the gate's gradient; SIZE: channels of a
// token; ALONE: whether x is 0 and the gate 1, without being read; VEC: channels of a pack; LANES x GRID threads: packs
// of a task of channels by columns of the grid.
//
// A block walks down the rows of a part of the grid. Each thread keeps its column's last 2 RADIUS + 1 rows in
// registers, so that x and m are read once and the result is written once; threads exchange filtered columns
// through shared memory.
#include "common.cuh"

#define TAPS (2 * RADIUS + 1)
#define CHANNELS_PER_TASK (LANES * VEC)
#define CHANNEL_TASKS ((SIZE + CHANNELS_PER_TASK - 1) / CHANNELS_PER_TASK)

struct Matrices {
  const float* of[FILTERS];
};
struct Taps {
  float v[FILTERS][GRID][TAPS];
};

// Reads the taps of each row of the matrices or, for the gradient, of each of their columns.
__device__ inline void read_taps(const Matrices& matrices, bool columns, Taps& taps) {
#pragma unroll
  for (int f = 0; f < FILTERS; ++f) {
    const float* matrix = matrices.of[f];
    for (int i = threadIdx.x; i < GRID * TAPS; i += blockDim.x) {
      const int row = i / TAPS, other = row + i % TAPS - RADIUS;
      const bool inside = other >= 0 && other < GRID;
      taps.v[f][row][i % TAPS] = !inside ? 0.0f : columns ? matrix[other * GRID + row] : matrix[row * GRID + other];
    }
  }
  __syncthreads();
}

// Factors of a pack and of its filtered versions: one number each, or one per channel.
struct Factors {
#if CHANNELS
  float a[VEC], b[FILTERS][VEC];
  __device__ float whole(int i) const { return a[i]; }
  __device__ float part(int f, int i) const { return b[f][i]; }
  __device__ Factors(const K* coefficients, wide band_stride, int channel) {
    float band[FILTERS + 1][VEC];
#pragma unroll
    for (int f = 0; f <= FILTERS; ++f) {
      clear(band[f]);
      if (channel < SIZE) load(coefficients + f * band_stride + channel, band[f]);
    }
#pragma unroll
    for (int i = 0; i < VEC; ++i) {
      a[i] = band[FILTERS][i] + 1.0f;
#pragma unroll
      for (int f = 0; f < FILTERS; ++f) b[f][i] = band[f][i] - band[f + 1][i];
    }
  }
#else
  float a, b[FILTERS];
  __device__ float whole(int) const { return a; }
  __device__ float part(int f, int) const { return b[f]; }
  __device__ Factors(const K* coefficients, wide band_stride, int) {
    a = number(coefficients[FILTERS * band_stride]) + 1.0f;
#pragma unroll
    for (int f = 0; f < FILTERS; ++f)
      b[f] = number(coefficients[f * band_stride]) - number(coefficients[(f + 1) * band_stride]);
  }
#endif
  __device__ float mixed(int i, float value, const float (&low)[FILTERS][VEC]) const {
    float sum = value * whole(i);
#pragma unroll
    for (int f = 0; f < FILTERS; ++f) sum = fmaf(low[f][i], part(f, i), sum);
    return sum;
  }
};

// Filtered columns of one row of the grid.
struct Line {
  float v[FILTERS][GRID][CHANNELS_PER_TASK];
};

// Walks down the rows of a part and calls `use(at, whole, low)` for each with the offset of the token's pack, the
// pack itself and the filtered packs. Calls `before(at)` first, to load other inputs early.
template <class T, class Before, class Use>
__device__ inline void walk(const T* image, int channel, const Range& rows, const Taps& taps, Line (&lines)[2],
                            Before before, Use use) {
  const int lane = threadIdx.x % LANES, column = threadIdx.x / LANES;
  const bool inside = channel < SIZE;
  float window[TAPS][VEC], across[FILTERS][TAPS];
#pragma unroll
  for (int k = 0; k < TAPS; ++k) {
    const int row = rows.first + k - RADIUS;
#pragma unroll
    for (int f = 0; f < FILTERS; ++f) across[f][k] = taps.v[f][column][k];
    if (inside && row >= 0 && row < GRID)
      load(image + ((wide)row * GRID + column) * SIZE + channel, window[k]);
    else
      clear(window[k]);
  }
  for (int row = rows.first; row < rows.last; ++row) {
    const wide at = ((wide)row * GRID + column) * SIZE + channel;
    float next[VEC];
    const int coming = row + RADIUS + 1;
    if (inside && row + 1 < rows.last && coming < GRID)
      load(image + ((wide)coming * GRID + column) * SIZE + channel, next);
    else
      clear(next);
    if (inside) before(at);
    Line& line = lines[row % 2];
#pragma unroll
    for (int f = 0; f < FILTERS; ++f) {
      float down[VEC];
      clear(down);
#pragma unroll
      for (int k = 0; k < TAPS; ++k) {
        const float weight = taps.v[f][row][k];
#pragma unroll
        for (int i = 0; i < VEC; ++i) down[i] += weight * window[k][i];
      }
#pragma unroll
      for (int i = 0; i < VEC; ++i) line.v[f][column][lane * VEC + i] = down[i];
    }
    // Two lines alternate: the other one may still be read while this one is written, so one barrier per row
    // suffices.
    __syncthreads();
    float low[FILTERS][VEC];
#pragma unroll
    for (int f = 0; f < FILTERS; ++f) {
      clear(low[f]);
#pragma unroll
      for (int k = 0; k < TAPS; ++k) {
        const int from = min(max(column + k - RADIUS, 0), GRID - 1);
#pragma unroll
        for (int i = 0; i < VEC; ++i) low[f][i] += across[f][k] * line.v[f][from][lane * VEC + i];
      }
    }
    if (inside) use(at, window[RADIUS], low);
#pragma unroll
    for (int i = 0; i < VEC; ++i) {
#pragma unroll
      for (int k = 0; k + 1 < TAPS; ++k) window[k][i] = window[k + 1][i];
      window[TAPS - 1][i] = next[i];
    }
  }
}

struct Place {
  int image, part, channel;
  __device__ Place(int parts) {
    const int group = blockIdx.x % CHANNEL_TASKS, task = blockIdx.x / CHANNEL_TASKS;
    image = task / parts;
    part = task % parts;
    channel = group * CHANNELS_PER_TASK + (int)threadIdx.x % LANES * VEC;
  }
};

// Reads a pack of the gate, or ones.
__device__ inline void read_gate(const C* gate, int channel, float (&factor)[VEC]) {
  clear(factor);
  if (ALONE) {
#pragma unroll
    for (int i = 0; i < VEC; ++i) factor[i] = 1.0f;
  } else if (channel < SIZE) {
    load(gate + channel, factor);
  }
}

extern "C" __global__ void __launch_bounds__(LANES* GRID)
    corrected(const X* x, const M* m, const C* gate, const K* coefficients, Matrices matrices, X* out, wide gate_stride,
              wide coefficient_stride, wide band_stride, int parts) {
  __shared__ Taps taps;
  __shared__ Line lines[2];
  const Place place(parts);
  const wide start = (wide)place.image * GRID * GRID * SIZE;
  const Factors factors(coefficients + place.image * coefficient_stride, band_stride, place.channel);
  float factor[VEC], sum[VEC];
  read_gate(gate + place.image * gate_stride, place.channel, factor);
  read_taps(matrices, false, taps);
  walk(
      m + start, place.channel, Range(place.part, parts, GRID), taps, lines,
      [&](wide at) {
        if (ALONE)
          clear(sum);
        else
          load(x + start + at, sum);
      },
      [&](wide at, const float (&whole)[VEC], const float (&low)[FILTERS][VEC]) {
#pragma unroll
        for (int i = 0; i < VEC; ++i) sum[i] = fmaf(factor[i], factors.mixed(i, whole[i], low), sum[i]);
        store(out + start + at, sum);
      });
}

// Computes dm = gate (a g + sum of b_f F_f^T(g)) and, for each part of an image, the sums over its tokens of g m,
// of each F_f^T(g) m and of dm: sums [images, parts, FILTERS + 2, SIZE].
extern "C" __global__ void __launch_bounds__(LANES* GRID)
    corrected_backward(const X* g, const M* m, const C* gate, const K* coefficients, Matrices matrices, M* dm,
                       float* sums, wide gate_stride, wide coefficient_stride, wide band_stride, int parts) {
  __shared__ Taps taps;
  __shared__ Line lines[2];
  const Place place(parts);
  const wide start = (wide)place.image * GRID * GRID * SIZE;
  const Factors factors(coefficients + place.image * coefficient_stride, band_stride, place.channel);
  float factor[VEC], value[VEC], total[FILTERS + 2][VEC];
#pragma unroll
  for (int which = 0; which < FILTERS + 2; ++which) clear(total[which]);
  read_gate(gate + place.image * gate_stride, place.channel, factor);
  read_taps(matrices, true, taps);
  walk(
      g + start, place.channel, Range(place.part, parts, GRID), taps, lines,
      [&](wide at) { load(m + start + at, value); },
      [&](wide at, const float (&whole)[VEC], const float (&low)[FILTERS][VEC]) {
        float back[VEC];
#pragma unroll
        for (int i = 0; i < VEC; ++i) {
          total[0][i] += whole[i] * value[i];
#pragma unroll
          for (int f = 0; f < FILTERS; ++f) total[1 + f][i] += low[f][i] * value[i];
          back[i] = factors.mixed(i, whole[i], low) * factor[i];
          total[FILTERS + 1][i] += back[i];
        }
        store(dm + start + at, back);
      });
  // The lines are no longer needed: each column stores its sums there, one kind of sum after the other.
  const int lane = threadIdx.x % LANES, column = threadIdx.x / LANES;
  const int first = blockIdx.x % CHANNEL_TASKS * CHANNELS_PER_TASK;
#pragma unroll
  for (int which = 0; which < FILTERS + 2; ++which) {
    __syncthreads();
#pragma unroll
    for (int i = 0; i < VEC; ++i) lines[0].v[0][column][lane * VEC + i] = total[which][i];
    __syncthreads();
    for (int c = threadIdx.x; c < CHANNELS_PER_TASK; c += blockDim.x) {
      if (first + c >= SIZE) continue;
      float all = 0;
      for (int from = 0; from < GRID; ++from) all += lines[0].v[0][from][c];
      sums[(((wide)place.image * parts + place.part) * (FILTERS + 2) + which) * SIZE + first + c] = all;
    }
  }
}

// Computes from these sums the gradients of the gate [images, SIZE] and of the coefficients, [images, FILTERS + 1]
// or per channel [images, FILTERS + 1, SIZE], and the column sums of dm for each image [images, SIZE]; one block
// per image.
extern "C" __global__ void __launch_bounds__(256)
    corrected_sums(const float* sums, const C* gate, const K* coefficients, D* dgate, K* dcoefficients, float* columns,
                   wide gate_stride, wide coefficient_stride, wide band_stride, int parts) {
  const int image = blockIdx.x;
  const K* given = coefficients + image * coefficient_stride;
  float all[FILTERS + 1];
  clear(all);
  for (int c = threadIdx.x; c < SIZE; c += blockDim.x) {
    float total[FILTERS + 2];
    clear(total);
    for (int part = 0; part < parts; ++part) {
      const float* from = sums + ((wide)image * parts + part) * (FILTERS + 2) * SIZE + c;
#pragma unroll
      for (int which = 0; which < FILTERS + 2; ++which) total[which] += from[which * SIZE];
    }
    columns[(wide)image * SIZE + c] = total[FILTERS + 1];
    const float factor = ALONE ? 1.0f : number(gate[image * gate_stride + c]);
    float band[FILTERS + 1];
#pragma unroll
    for (int f = 0; f <= FILTERS; ++f) band[f] = number(given[f * band_stride + (CHANNELS ? c : 0)]);
    float along = total[0] * (band[FILTERS] + 1.0f);
#pragma unroll
    for (int f = 0; f < FILTERS; ++f) along += total[1 + f] * (band[f] - band[f + 1]);
    if (!ALONE) put(dgate[(wide)image * SIZE + c], along);
#if CHANNELS
    K* to = dcoefficients + (wide)image * (FILTERS + 1) * SIZE + c;
#pragma unroll
    for (int f = 0; f <= FILTERS; ++f)
      put(to[f * SIZE], factor * ((f < FILTERS ? total[1 + f] : total[0]) - (f > 0 ? total[f] : 0.0f)));
#else
#pragma unroll
    for (int f = 0; f <= FILTERS; ++f) all[f] += factor * total[f];
#endif
  }
#if !CHANNELS
  __shared__ float warps[FILTERS + 1][8];
#pragma unroll
  for (int f = 0; f <= FILTERS; ++f) {
    all[f] = sum_lanes<32>(all[f]);
    if (threadIdx.x % 32 == 0) warps[f][threadIdx.x / 32] = all[f];
  }
  __syncthreads();
  if (threadIdx.x) return;
#pragma unroll
  for (int f = 0; f <= FILTERS; ++f)
    for (int warp = 1; warp < 8; ++warp) all[f] += warps[f][warp];
  // A filter's factor is its coefficient minus the next one, and the factor of the whole is one plus the last
  // coefficient.
  K* to = dcoefficients + (wide)image * (FILTERS + 1);
#pragma unroll
  for (int f = 0; f <= FILTERS; ++f) put(to[f], (f < FILTERS ? all[1 + f] : all[0]) - (f > 0 ? all[f] : 0.0f));
#endif
}
