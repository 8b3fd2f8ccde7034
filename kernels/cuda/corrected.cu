// The spectral residual: x + gate (a m + b F(m)) on a grid of GRID x GRID tokens, with its gradients; a = 1 + high and
// b = low - high. F multiplies the rows and the columns of the grid by a matrix whose row i is zero outside the columns
// i - RADIUS to i + RADIUS. The gate is one number per channel and so moves in front of F.
//
// X, M, C, K, D: types of x, of m, of the gate, of the coefficients and of the gate's gradient; SIZE: channels of a token;
// VEC: channels of a pack; LANES x GRID threads, packs of a slab of channels by columns of the grid.
//
// A block walks down the rows of a band of the grid. Each thread keeps its column's last 2 RADIUS + 1 rows in registers, so that
// x and m are read once and the result is written once; a filtered column goes to its neighbours by shared memory.
#include "common.cuh"

#define TAPS (2 * RADIUS + 1)
#define SLAB (LANES * VEC)
#define SLABS ((SIZE + SLAB - 1) / SLAB)

// The taps of each row of the matrix or, for the gradient, of each of its columns.
__device__ inline void read_taps(const float* matrix, bool columns, float (&taps)[GRID][TAPS]) {
  for (int i = threadIdx.x; i < GRID * TAPS; i += blockDim.x) {
    const int row = i / TAPS, other = row + i % TAPS - RADIUS;
    const bool inside = other >= 0 && other < GRID;
    taps[row][i % TAPS] = !inside ? 0.0f : columns ? matrix[other * GRID + row] : matrix[row * GRID + other];
  }
  __syncthreads();
}

// Filtered columns of one row of the grid.
struct Line {
  float v[GRID][SLAB];
};

// Walks down the rows of a band and calls `use(at, whole, low)` for each: where the token's pack lies, the pack itself and
// the filtered one. `before(at)` is called first, to read what else is needed.
template <class T, class Before, class Use>
__device__ inline void walk(const T* image, int channel, const Range& rows, const float (&taps)[GRID][TAPS],
                            Line (&lines)[2], Before before, Use use) {
  const int lane = threadIdx.x % LANES, column = threadIdx.x / LANES;
  const bool inside = channel < SIZE;
  float window[TAPS][VEC], across[TAPS];
#pragma unroll
  for (int k = 0; k < TAPS; ++k) {
    const int row = rows.first + k - RADIUS;
    across[k] = taps[column][k];
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
    float down[VEC], low[VEC];
    clear(down);
    clear(low);
#pragma unroll
    for (int k = 0; k < TAPS; ++k) {
      const float weight = taps[row][k];
#pragma unroll
      for (int i = 0; i < VEC; ++i) down[i] += weight * window[k][i];
    }
#pragma unroll
    for (int i = 0; i < VEC; ++i) line.v[column][lane * VEC + i] = down[i];
    // The other line may still be read while this one is written, so one barrier for each row is enough.
    __syncthreads();
#pragma unroll
    for (int k = 0; k < TAPS; ++k) {
      const int from = min(max(column + k - RADIUS, 0), GRID - 1);
#pragma unroll
      for (int i = 0; i < VEC; ++i) low[i] += across[k] * line.v[from][lane * VEC + i];
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
  int image, band, channel;
  __device__ Place(int bands) {
    const int slab = blockIdx.x % SLABS, task = blockIdx.x / SLABS;
    image = task / bands;
    band = task % bands;
    channel = slab * SLAB + (int)threadIdx.x % LANES * VEC;
  }
};

extern "C" __global__ void __launch_bounds__(LANES* GRID)
    corrected(const X* x, const M* m, const C* gate, const K* coefficients, const float* matrix, X* out,
              wide gate_stride, wide coefficient_stride, wide band_stride, int bands) {
  __shared__ float taps[GRID][TAPS];
  __shared__ Line lines[2];
  const Place place(bands);
  const wide start = (wide)place.image * GRID * GRID * SIZE;
  const K* both = coefficients + place.image * coefficient_stride;
  const float low_factor = number(both[0]), high_factor = number(both[band_stride]);
  const float a = high_factor + 1.0f, b = low_factor - high_factor;
  float factor[VEC], sum[VEC];
  clear(factor);
  if (place.channel < SIZE) load(gate + place.image * gate_stride + place.channel, factor);
  read_taps(matrix, false, taps);
  walk(
      m + start, place.channel, Range(place.band, bands, GRID), taps, lines,
      [&](wide at) { load(x + start + at, sum); },
      [&](wide at, const float (&whole)[VEC], const float (&low)[VEC]) {
#pragma unroll
        for (int i = 0; i < VEC; ++i) sum[i] = fmaf(factor[i], fmaf(low[i], b, whole[i] * a), sum[i]);
        store(out + start + at, sum);
      });
}

// dm = gate (a g + b F^T(g)), and for each band of an image the sums over its tokens of g m, of F^T(g) m and of dm:
// sums [images, bands, 3, SIZE].
extern "C" __global__ void __launch_bounds__(LANES* GRID)
    corrected_backward(const X* g, const M* m, const C* gate, const K* coefficients, const float* matrix, M* dm,
                       float* sums, wide gate_stride, wide coefficient_stride, wide band_stride, int bands) {
  __shared__ float taps[GRID][TAPS];
  __shared__ Line lines[2];
  const Place place(bands);
  const wide start = (wide)place.image * GRID * GRID * SIZE;
  const K* both = coefficients + place.image * coefficient_stride;
  const float low_factor = number(both[0]), high_factor = number(both[band_stride]);
  const float a = high_factor + 1.0f, b = low_factor - high_factor;
  float factor[VEC], value[VEC], plain[VEC], smooth[VEC], column_sum[VEC];
  clear(factor);
  clear(plain);
  clear(smooth);
  clear(column_sum);
  if (place.channel < SIZE) load(gate + place.image * gate_stride + place.channel, factor);
  read_taps(matrix, true, taps);
  walk(
      g + start, place.channel, Range(place.band, bands, GRID), taps, lines,
      [&](wide at) { load(m + start + at, value); },
      [&](wide at, const float (&whole)[VEC], const float (&low)[VEC]) {
        float back[VEC];
#pragma unroll
        for (int i = 0; i < VEC; ++i) {
          plain[i] += whole[i] * value[i];
          smooth[i] += low[i] * value[i];
          back[i] = fmaf(low[i], b, whole[i] * a) * factor[i];
          column_sum[i] += back[i];
        }
        store(dm + start + at, back);
      });
  // The lines are free now: each column leaves its sums there, one kind of sum after the other.
  const int lane = threadIdx.x % LANES, column = threadIdx.x / LANES;
  const int slab = blockIdx.x % SLABS * SLAB;
  for (int which = 0; which < 3; ++which) {
    __syncthreads();
#pragma unroll
    for (int i = 0; i < VEC; ++i)
      lines[0].v[column][lane * VEC + i] = which == 0 ? plain[i] : which == 1 ? smooth[i] : column_sum[i];
    __syncthreads();
    for (int c = threadIdx.x; c < SLAB; c += blockDim.x) {
      if (slab + c >= SIZE) continue;
      float all = 0;
      for (int from = 0; from < GRID; ++from) all += lines[0].v[from][c];
      sums[(((wide)place.image * bands + place.band) * 3 + which) * SIZE + slab + c] = all;
    }
  }
}

// From these sums the gradients of the gate [images, SIZE] and of the coefficients [images, 2], and of each image the sums of
// dm's columns [images, SIZE]; a block for each image.
extern "C" __global__ void __launch_bounds__(256)
    corrected_sums(const float* sums, const C* gate, const K* coefficients, D* dgate, K* dcoefficients,
                   float* columns, wide gate_stride, wide coefficient_stride, wide band_stride, int bands) {
  __shared__ float total[2][8];
  const int image = blockIdx.x;
  const K* both = coefficients + image * coefficient_stride;
  const float low_factor = number(both[0]), high_factor = number(both[band_stride]);
  const float a = high_factor + 1.0f, b = low_factor - high_factor;
  float low = 0, all = 0;
  for (int c = threadIdx.x; c < SIZE; c += blockDim.x) {
    float plain = 0, smooth = 0, column_sum = 0;
    for (int band = 0; band < bands; ++band) {
      const float* part = sums + ((wide)image * bands + band) * 3 * SIZE + c;
      plain += part[0];
      smooth += part[SIZE];
      column_sum += part[2 * SIZE];
    }
    columns[(wide)image * SIZE + c] = column_sum;
    const float factor = number(gate[image * gate_stride + c]);
    put(dgate[(wide)image * SIZE + c], plain * a + smooth * b);
    low += factor * smooth;
    all += factor * plain;
  }
  low = sum_lanes<32>(low);
  all = sum_lanes<32>(all);
  if (threadIdx.x % 32 == 0) {
    total[0][threadIdx.x / 32] = low;
    total[1][threadIdx.x / 32] = all;
  }
  __syncthreads();
  if (threadIdx.x) return;
  for (int warp = 1; warp < 8; ++warp) {
    low += total[0][warp];
    all += total[1][warp];
  }
  put(dcoefficients[image * 2], low);
  put(dcoefficients[image * 2 + 1], all - low);
}
