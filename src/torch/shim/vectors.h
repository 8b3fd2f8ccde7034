// Float32 vectors as wide as the instruction set allows, in the compiler's vector types. For the files that are
// compiled once per instruction set: everything here is local to the file that includes it.
#pragma once
#include <stdint.h>
#include <string.h>

// Compilers do not inline a large function that takes or returns vectors, and then each call spills all registers
// to memory.
#define SP_INSIDE __attribute__((always_inline))

namespace {

#if defined(__AVX512F__)
constexpr int W = 16;
#elif defined(__AVX2__)
constexpr int W = 8;
#else
constexpr int W = 4;
#endif
typedef float vf __attribute__((vector_size(4 * W)));
typedef int32_t vi __attribute__((vector_size(4 * W)));
typedef uint32_t vu __attribute__((vector_size(4 * W)));
typedef uint16_t vh __attribute__((vector_size(2 * W)));
typedef uint64_t vd __attribute__((vector_size(4 * W)));
typedef uint16_t bf16;

// A number as a type, so that loops up to it unroll.
template <int N>
struct Constant {
  static constexpr int value = N;
};

// Number of valid lanes: all, or the first few at the end of a row.
struct Full {
  constexpr operator int() const { return W; }
};

template <class V, class T>
inline V load_all(const T* p) {
  V v;
  memcpy(&v, p, sizeof(V));
  return v;
}
// Adding x to zeros would not work: -0 would become 0, so the compiler would keep the addition.
inline vf splat(float x) {
#if defined(__AVX512F__)
  return vf{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
#elif defined(__AVX2__)
  return vf{x, x, x, x, x, x, x, x};
#else
  return vf{x, x, x, x};
#endif
}

inline vf load(const float* p, Full) { return load_all<vf>(p); }
inline vf load(const bf16* p, Full) { return (vf)(__builtin_convertvector(load_all<vh>(p), vu) << 16); }
template <class T>
inline vf load(const T* p, int n) {
  T whole[W] = {};
  memcpy(whole, p, size_t(n) * sizeof(T));
  return load(whole, Full{});
}
inline void store(float* p, vf v, Full) { memcpy(p, &v, sizeof(v)); }
inline void store(bf16* p, vf v, Full) {
  vu bits = (vu)v;
  // Rounds to nearest, ties to even; NaN stays NaN.
  vu rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  vu nan = (vu)(v != v);
  vh out = __builtin_convertvector((rounded & ~nan) | (nan & 0x7fc0u), vh);
  memcpy(p, &out, sizeof(out));
}
template <class T>
inline void store(T* p, vf v, int n) {
  T whole[W];
  store(whole, v, Full{});
  memcpy(p, whole, size_t(n) * sizeof(T));
}
// Exchanges lanes 2i and 2i + 1, the halves of 64 bits.
inline vf exchange_pairs(vf v) { return (vf)((vd)v << 32 | (vd)v >> 32); }
// Changes the sign of even or odd lanes; the first lane is the lower half of its 64 bits.
inline vf negate_even(vf v) { return (vf)((vd)v ^ uint64_t(1) << 31); }
inline vf negate_odd(vf v) { return (vf)((vd)v ^ uint64_t(1) << 63); }
inline vf only(vf v, Full) { return v; }
inline vi lanes() {
  vi v{};
  for (int i = 0; i < W; ++i) v[i] = i;
  return v;
}
inline vf only(vf v, int n) { return lanes() < n ? v : vf{}; }

// Reduces all lanes by an operation on two vectors or numbers, halves first.
template <class F>
inline float fold(vf v, F&& op) {
#if defined(__has_builtin) && __has_builtin(__builtin_shufflevector) && defined(__AVX2__)
#if defined(__AVX512F__)
  const auto eight = op(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7),
                        __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15));
#else
  const auto eight = v;
#endif
  const auto four =
      op(__builtin_shufflevector(eight, eight, 0, 1, 2, 3), __builtin_shufflevector(eight, eight, 4, 5, 6, 7));
  return op(op(four[0], four[2]), op(four[1], four[3]));
#else
  float result = v[0];
  for (int i = 1; i < W; ++i) result = op(result, v[i]);
  return result;
#endif
}
inline float sum(vf v) {
  return fold(v, [](auto a, auto b) { return a + b; });
}
inline float most_of(vf v) {
  return fold(v, [](auto a, auto b) { return a > b ? a : b; });
}
// Calls body(offset, lanes) over a row.
template <class F>
inline void over(int64_t size, F&& body) {
  int64_t i = 0;
  for (; i + W <= size; i += W) body(i, Full{});
  if (i < size) body(i, int(size - i));
}
inline float root(float x) { return __builtin_sqrtf(x); }

// 2^x within 2 units in the last place, for arguments clamped to the range of float32.
inline SP_INSIDE vf power_of_two(vf x) {
  const vf lowest = splat(-126.0f), highest = splat(126.0f), magic = splat(12582912.0f);
  x = lowest > x ? lowest : x;
  x = highest < x ? highest : x;
  // The low bits of the sum hold the nearest integer.
  const vf shifted = x + magic, r = x - (shifted - magic);
  vf p = splat(1.5345812e-4f);
  p = p * r + 1.33999314e-3f;
  p = p * r + 9.61848896e-3f;
  p = p * r + 5.55032878e-2f;
  p = p * r + 2.40226469e-1f;
  p = p * r + 6.93147206e-1f;
  p = p * r + 1.0f;
  return p * (vf)(((vi)shifted << 23) + 0x3f800000);
}
constexpr float LOG2_E = 1.44269504f;

}  // namespace
