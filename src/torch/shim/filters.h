// The gated residual with corrections: a slab of channels of one image at a time, which stays in the caches while the filters
// work on it. Part of kernels.cpp.
//
// A slab is copied to float32 [N, SLAB] first, zeros behind its last channel, so that the filters see whole vectors alone.
#pragma once
#include "kernels.h"
#include "vectors.h"

namespace {

using sp::Filter;
using sp::Slab;
using sp::SLAB;
using sp::STRIP;
using sp::Strip;
using sp::Strips;

// ------------------------------------------------------------------ small matrices
// `R` rows of a strip times V vectors of each line.
template <int R, int V>
__attribute__((always_inline)) inline void tile(const float* weights, int64_t length, const float* from,
                                                int64_t from_stride, float* to, int64_t to_stride) {
  vf sums[R][V] = {};
  for (int64_t j = 0; j < length; ++j, from += from_stride, weights += STRIP) {
    vf x[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) x[v] = load(from + v * W, Full{});
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const vf w = splat(weights[r]);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sums[r][v] += w * x[v];
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store(to + r * to_stride + v * W, sums[r][v], Full{});
}
template <int R>
__attribute__((always_inline)) inline void strip(const float* weights, int64_t length, const float* from,
                                                 int64_t from_stride, float* to, int64_t to_stride, int64_t width) {
  // As much as the registers hold: 32 with AVX-512, else 16.
  constexpr int V = W == 16 || R <= 2 ? 4 : 2;
  int64_t i = 0;
  for (; i + V * W <= width; i += V * W) tile<R, V>(weights, length, from + i, from_stride, to + i, to_stride);
  for (; i < width; i += W) tile<R, 1>(weights, length, from + i, from_stride, to + i, to_stride);
}

// Line i of `to` = the sum over j of matrix[i, j] times line j of `from`, lines of `width` numbers.
inline void multiply(const Strips& matrix, const float* from, int64_t from_stride, float* to, int64_t to_stride,
                     int64_t width) {
  for (int64_t s = 0; s < matrix.count; ++s) {
    const Strip& t = matrix.strips[s];
    const float *weights = t.weights, *first = from + t.start * from_stride;
    float* line = to + t.row * to_stride;
    switch (t.rows) {
      case 1: strip<1>(weights, t.length, first, from_stride, line, to_stride, width); break;
      case 2: strip<2>(weights, t.length, first, from_stride, line, to_stride, width); break;
      case 3: strip<3>(weights, t.length, first, from_stride, line, to_stride, width); break;
      default: strip<4>(weights, t.length, first, from_stride, line, to_stride, width);
    }
  }
}

// Sums of opposite lines, the middle one alone, and then their differences.
inline void fold(const float* from, int64_t stride, int64_t count, float* to, int64_t width) {
  const int64_t half = count / 2, even = count - half;
  for (int64_t j = 0; j < half; ++j)
    for (int64_t i = 0; i < width; i += W) {
      const vf a = load(from + j * stride + i, Full{}), b = load(from + (count - 1 - j) * stride + i, Full{});
      store(to + j * SLAB + i, a + b, Full{});
      store(to + (even + j) * SLAB + i, a - b, Full{});
    }
  if (half < even)
    for (int64_t i = 0; i < width; i += W) store(to + half * SLAB + i, load(from + half * stride + i, Full{}), Full{});
}
// The transpose of fold.
inline void unfold(const float* from, int64_t count, float* to, int64_t stride, int64_t width) {
  const int64_t half = count / 2, even = count - half;
  for (int64_t j = 0; j < half; ++j)
    for (int64_t i = 0; i < width; i += W) {
      const vf a = load(from + j * SLAB + i, Full{}), b = load(from + (even + j) * SLAB + i, Full{});
      store(to + j * stride + i, a + b, Full{});
      store(to + (count - 1 - j) * stride + i, a - b, Full{});
    }
  if (half < even)
    for (int64_t i = 0; i < width; i += W) store(to + half * stride + i, load(from + half * SLAB + i, Full{}), Full{});
}

// ------------------------------------------------------------------ filters of a slab
// Each takes [grid, grid, SLAB] to the same, of which `width` numbers of a line count.

inline void across(const Strips& matrix, int64_t grid, const float* from, float* to, int64_t width) {
  for (int64_t row = 0; row < grid; ++row)
    multiply(matrix, from + row * grid * SLAB, SLAB, to + row * grid * SLAB, SLAB, width);
}
inline void down(const Strips& matrix, int64_t grid, const float* from, float* to, int64_t width) {
  for (int64_t column = 0; column < grid; ++column)
    multiply(matrix, from + column * SLAB, grid * SLAB, to + column * SLAB, grid * SLAB, width);
}

// Q^T (gains * (Q X Q^T)) Q. Rows of Q that are even or odd see folded lines, half as long. `waves` [grid, grid, SLAB].
inline void spectrum(const Filter& t, int64_t grid, const float* from, float* to, float* waves, float* lines,
                     int64_t width) {
  const int64_t line = grid * SLAB;
  float* other = lines + line;
  for (int64_t column = 0; column < grid; ++column) {
    fold(from + column * SLAB, line, grid, lines, width);
    multiply(t.forth, lines, SLAB, waves + column * SLAB, line, width);
  }
  for (int64_t k = 0; k < t.kept; ++k) {
    fold(waves + k * line, SLAB, grid, lines, width);
    multiply(t.forth, lines, SLAB, other, SLAB, width);
    for (int64_t l = 0; l < t.kept; ++l)
      for (int64_t i = 0; i < width; i += W)
        store(other + l * SLAB + i, load(other + l * SLAB + i, Full{}) * t.gains[k * t.kept + l], Full{});
    multiply(t.back, other, SLAB, lines, SLAB, width);
    unfold(lines, grid, waves + k * line, SLAB, width);
  }
  for (int64_t column = 0; column < grid; ++column) {
    multiply(t.back, waves + column * SLAB, line, lines, SLAB, width);
    unfold(lines, grid, to + column * SLAB, line, width);
  }
}

// C entries of row `i` from column `j` on of the gradient of M in M X M^T; see below.
template <int C>
inline void entries(int64_t grid, const float* hm, const float* mth, const float* x, const float* gate, float factor,
                    int64_t width, int64_t i, int64_t j, float* to) {
  const int64_t line = grid * SLAB;
  vf total[C] = {};
  for (int64_t v = 0; v < width; v += W) {
    const float *a = hm + i * line + v, *b = mth + i * SLAB + v, *p = x + j * line + v, *q = x + j * SLAB + v;
    vf sums[C] = {};
    for (int64_t k = 0; k < grid; ++k, a += SLAB, b += line, p += SLAB, q += line) {
      const vf left = load(a, Full{}), right = load(b, Full{});
#pragma GCC unroll 5
      for (int c = 0; c < C; ++c) {
        sums[c] += left * load(p + c * line, Full{});
        sums[c] += right * load(q + c * SLAB, Full{});
      }
    }
#pragma GCC unroll 5
    for (int c = 0; c < C; ++c) total[c] += sums[c] * load(gate + v, Full{});
  }
  for (int c = 0; c < C; ++c) to[i * grid + j + c] = sum(total[c]) * factor;
}

// The gradient of M, given the gradient H [grid, grid, SLAB] of the result and its products: H M X^T + H^T M X, summed over
// channels, each times its gate. The entries of the runs of M alone are written.
inline void matrix_gradient(const Filter& t, int64_t grid, const float* hm, const float* mth, const float* x,
                            const float* gate, float factor, int64_t width, float* to) {
  for (int64_t i = 0; i < grid; ++i) {
    const int64_t last = t.start[i] + t.length[i];
    int64_t j = t.start[i];
    for (; j + 5 <= last; j += 5) entries<5>(grid, hm, mth, x, gate, factor, width, i, j, to);
    if (j + 3 <= last) {
      entries<3>(grid, hm, mth, x, gate, factor, width, i, j, to);
      j += 3;
    }
    for (; j < last; ++j) entries<1>(grid, hm, mth, x, gate, factor, width, i, j, to);
  }
}

// ------------------------------------------------------------------ the gated residual
template <class T>
inline void gather(const T* from, int64_t count, int64_t stride, int64_t size, float* to) {
  for (int64_t n = 0; n < count; ++n)
    over(size, [&](int64_t i, auto lanes) { store(to + n * SLAB + i, load(from + n * stride + i, lanes), Full{}); });
}

int64_t corrected_scratch(int64_t grid, int64_t filters) {
  return SLAB * ((4 + filters) * grid * grid + 2 * grid + 1) + W;
}

// The parts of the scratch, most of them whole slabs.
struct Parts {
  int64_t tokens, part, width;
  float *given, *m, *first, *second, *low, *lines, *gate;

  explicit Parts(const Slab& t) : tokens(t.grid * t.grid), part(tokens * SLAB), width((t.size + W - 1) / W * W) {
    // Vectors that lie across two lines of the cache take twice as long.
    given = t.scratch + (W - uintptr_t(t.scratch) / sizeof(float) % W) % W;
    m = given + part;
    first = m + part;
    second = first + part;
    low = second + part;
    lines = low + t.count * part;
    gate = lines + 2 * t.grid * SLAB;
    gather(t.gate, 1, SLAB, t.size, gate);
  }
  // What `filter` lets through of `given`; of one without `back`, `first` then holds what came of the columns.
  void pass(const Filter& filter, int64_t grid, float* to) const {
    if (filter.back.count) return spectrum(filter, grid, given, to, first, lines, width);
    down(filter.forth, grid, given, first, width);
    across(filter.forth, grid, first, to, width);
  }
  // whole * given + the sum of parts * low, of one vector of one token.
  vf mixed(const Slab& t, int64_t at) const {
    vf sum = load(given + at, Full{}) * t.whole;
    for (int64_t k = 0; k < t.count; ++k) sum += load(low + k * part + at, Full{}) * t.parts[k];
    return sum;
  }
};

template <class X, class M>
void corrected_as(const Slab& t) {
  const Parts s(t);
  gather((const M*)t.m, s.tokens, t.stride, t.size, s.given);
  for (int64_t k = 0; k < t.count; ++k) s.pass(t.filters[k], t.grid, s.low + k * s.part);
  for (int64_t n = 0; n < s.tokens; ++n) {
    const X* x = (const X*)t.x + n * t.stride;
    X* out = (X*)t.out + n * t.stride;
    over(t.size, [&](int64_t i, auto lanes) {
      store(out + i, load(s.gate + i, Full{}) * s.mixed(t, n * SLAB + i) + load(x + i, lanes), lanes);
    });
  }
}

// The gradients of C tokens from the `n`th on.
template <int C, class M>
inline void back(const Slab& t, const Parts& s, int64_t n) {
  const M* m = (const M*)t.m + n * t.stride;
  M* dm = (M*)t.out + n * t.stride;
  const float *given = s.given + n * SLAB, *low = s.low + n * SLAB;
  over(t.size, [&](int64_t i, auto lanes) {
    vf value[C], mixed[C], total = load(t.sums + i, lanes);
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      const vf whole = load(given + c * SLAB + i, Full{});
      value[c] = load(m + c * t.stride + i, lanes);
      mixed[c] = whole * t.whole;
      total += whole * value[c];
    }
    store(t.sums + i, total, lanes);
    for (int64_t k = 0; k < t.count; ++k) {
      float* sums = t.sums + (k + 1) * t.stride + i;
      total = load(sums, lanes);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) {
        const vf passed = load(low + k * s.part + c * SLAB + i, Full{});
        mixed[c] += passed * t.parts[k];
        total += passed * value[c];
      }
      store(sums, total, lanes);
    }
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) store(dm + c * t.stride + i, mixed[c] * load(s.gate + i, Full{}), lanes);
  });
}

template <class X, class M>
void corrected_backward_as(const Slab& t) {
  const Parts s(t);
  gather((const X*)t.x, s.tokens, t.stride, t.size, s.given);
  bool gathered = false;
  for (int64_t k = 0; k < t.count; ++k) {
    const Filter& filter = t.filters[k];
    s.pass(filter, t.grid, s.low + k * s.part);
    if (!filter.start) continue;
    if (!gathered) gather((const M*)t.m, s.tokens, t.stride, t.size, s.m);
    gathered = true;
    across(filter.forth, t.grid, s.given, s.second, s.width);
    matrix_gradient(filter, t.grid, s.second, s.first, s.m, s.gate, t.parts[k], s.width,
                    t.matrices + k * s.tokens);
  }
  int64_t n = 0;
  for (; n + 4 <= s.tokens; n += 4) back<4, M>(t, s, n);
  for (; n < s.tokens; ++n) back<1, M>(t, s, n);
}

}  // namespace
