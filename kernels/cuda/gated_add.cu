// The gated residual x + gate m, with its gradients.
//
// X, M, C, D: types of x, of m, of the gate and of the gate's gradient; SIZE: channels of a token; VEC: channels of
// a pack; LANES x ROWS threads: packs of a slab of channels by tokens.
#include "common.cuh"

#define SLABS ((SIZE / VEC + LANES - 1) / LANES)

struct Place {
  int image, part, channel, row;
  __device__ Place(int parts) {
    const int slab = blockIdx.x % SLABS, task = blockIdx.x / SLABS;
    image = task / parts;
    part = task % parts;
    channel = (slab * LANES + (int)threadIdx.x % LANES) * VEC;
    row = threadIdx.x / LANES;
  }
};

extern "C" __global__ void __launch_bounds__(LANES* ROWS)
    gated_add(const X* x, const M* m, const C* gate, X* out, wide gate_stride, int tokens, int parts) {
  const Place place(parts);
  if (place.channel >= SIZE) return;
  const Range rows(place.part, parts, tokens);
  float factor[VEC];
  load(gate + place.image * gate_stride + place.channel, factor);
  for (int row = rows.first + place.row; row < rows.last; row += ROWS) {
    const wide at = ((wide)place.image * tokens + row) * SIZE + place.channel;
    float a[VEC], r[VEC];
    load(x + at, a);
    load(m + at, r);
#pragma unroll
    for (int i = 0; i < VEC; ++i) a[i] = fmaf(factor[i], r[i], a[i]);
    store(out + at, a);
  }
}

// Computes dm and, for each part of an image, the sums over its tokens of g m and of dm: sums
// [images, parts, 2, SIZE].
extern "C" __global__ void __launch_bounds__(LANES* ROWS)
    gated_add_backward(const X* g, const M* m, const C* gate, M* dm, float* sums, wide gate_stride, int tokens,
                       int parts) {
  __shared__ float total[ROWS][2][LANES * VEC];
  const Place place(parts);
  const Range rows(place.part, parts, tokens);
  const bool inside = place.channel < SIZE;
  const int lane = threadIdx.x % LANES;
  float factor[VEC], along[VEC], plain[VEC];
  clear(factor);
  clear(along);
  clear(plain);
  if (inside) load(gate + place.image * gate_stride + place.channel, factor);
  for (int row = rows.first + place.row; inside && row < rows.last; row += ROWS) {
    const wide at = ((wide)place.image * tokens + row) * SIZE + place.channel;
    float whole[VEC], r[VEC];
    load(g + at, whole);
    load(m + at, r);
#pragma unroll
    for (int i = 0; i < VEC; ++i) {
      along[i] += whole[i] * r[i];
      whole[i] *= factor[i];
      plain[i] += whole[i];
    }
    store(dm + at, whole);
  }
#pragma unroll
  for (int i = 0; i < VEC; ++i) {
    total[place.row][0][lane * VEC + i] = along[i];
    total[place.row][1][lane * VEC + i] = plain[i];
  }
  __syncthreads();
  if (!inside || place.row) return;
  for (int which = 0; which < 2; ++which)
#pragma unroll
    for (int i = 0; i < VEC; ++i) {
      float all = 0;
      for (int row = 0; row < ROWS; ++row) all += total[row][which][lane * VEC + i];
      sums[(((wide)place.image * parts + place.part) * 2 + which) * SIZE + place.channel + i] = all;
    }
}

// Adds up the parts: the gradient of the gate [images, SIZE], and the column sums of dm for each image.
extern "C" __global__ void __launch_bounds__(256)
    gated_add_sums(const float* sums, D* dgate, float* columns, int images, int parts) {
  const wide i = (wide)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= (wide)images * SIZE) return;
  const wide image = i / SIZE, c = i % SIZE;
  float along = 0, plain = 0;
  for (int part = 0; part < parts; ++part) {
    along += sums[((image * parts + part) * 2) * SIZE + c];
    plain += sums[((image * parts + part) * 2 + 1) * SIZE + c];
  }
  put(dgate[i], along);
  columns[i] = plain;
}
