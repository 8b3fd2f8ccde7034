// Shared by all kernels: storage of elements, packs of elements, and sums over the lanes of a warp.
//
// A kernel is compiled for one case: the host defines element types, sizes and the number of elements in a pack.
// Sums are always float32, in an order that depends only on the shapes.
#pragma once

typedef long long wide;

struct bf16 {
  unsigned short bits;
};

__device__ inline float number(float x) { return x; }
__device__ inline float number(bf16 x) { return __uint_as_float((unsigned)x.bits << 16); }

__device__ inline void put(float& to, float x) { to = x; }
// Rounds to nearest, ties to even; NaN stays NaN.
__device__ inline void put(bf16& to, float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(to.bits) : "f"(x));
#else
  const unsigned bits = __float_as_uint(x);
  to.bits = x != x ? 0x7fff : (unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
#endif
}

// Elements that are read and written at once, up to 16 bytes per instruction.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T v[N];
};

template <class T, int N>
__device__ inline void load(const T* from, float (&to)[N]) {
  const Pack<T, N> pack = *(const Pack<T, N>*)from;
#pragma unroll
  for (int i = 0; i < N; ++i) to[i] = number(pack.v[i]);
}
template <class T, int N>
__device__ inline void store(T* to, const float (&from)[N]) {
  Pack<T, N> pack;
#pragma unroll
  for (int i = 0; i < N; ++i) put(pack.v[i], from[i]);
  *(Pack<T, N>*)to = pack;
}
template <int N>
__device__ inline void clear(float (&x)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) x[i] = 0;
}

// Returns the sum over groups of `COUNT` neighboring lanes, in each of them. All lanes of a warp must call it.
template <int COUNT>
__device__ inline float sum_lanes(float x) {
#pragma unroll
  for (int step = COUNT / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}

// Range [first, last) of one of `parts`; the first parts take the remaining rows.
struct Range {
  int first, last;
  __device__ Range(unsigned part, unsigned parts, unsigned count) {
    const unsigned each = count / parts, left = count - each * parts;
    first = (int)(part * each + (part < left ? part : left));
    last = first + (int)(part < left ? each + 1 : each);
  }
};
