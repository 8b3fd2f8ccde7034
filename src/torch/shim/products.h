// Matrix products that fit the caches, in tiles that fit the registers: the building blocks of attention and linear
// maps. Part of kernels.cpp.
#pragma once
#include "vectors.h"

namespace {

// A tile is ROWS rows of VECTORS vectors of columns. It has as many sums as leave a register for each vector and
// one for a row, which minimizes the loads per product.
#if defined(__AVX512F__)
constexpr int VECTORS = 4;
#else
constexpr int VECTORS = 2;
#endif
constexpr int ROWS = 6, C = VECTORS * W;

inline int64_t whole(int64_t count, int64_t of) { return (count + of - 1) / of * of; }
// Returns the stride between rows of a matrix in scratch memory: whole vectors, and not a power of two, which would
// map all rows to the same cache sets.
inline int64_t line_of(int64_t count) { return whole(count, W) + W; }

// Stride of 1 between rows, or columns, that are adjacent.
struct Dense {
  constexpr operator int64_t() const { return 1; }
};

// Matrix whose columns are read C at a time: address of the first, stride to the next C, and stride to the next
// row. Whole vectors of columns can be read.
struct Columns {
  const float* at;
  int64_t step, row;
};
// Returns rows in scratch memory.
inline Columns rows_of(const float* at, int64_t line) { return {at, C, line}; }
// Returns adjacent panels [depth, C] of C columns each.
inline Columns panels_of(const float* at, int64_t depth) { return {at, depth * C, C}; }
inline int64_t panels_size(int64_t depth, int64_t columns) { return whole(columns, C) * depth; }

// Adds a b to sums, for R rows of a and V vectors of columns of b.
template <int R, int V, class Along, class Down>
inline SP_INSIDE void tile(const float* a, Along along, Down down, const float* b, int64_t row, int64_t depth,
                           vf (&sums)[R][V]) {
  // If another program shares the core, the number of instructions per product matters most.
#pragma GCC unroll 8
  for (int64_t k = 0; k < depth; ++k, b += row) {
    vf x[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) x[v] = load(b + v * W, Full{});
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const vf s = splat(a[k * along + r * down]);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sums[r][v] += s * x[v];
    }
  }
}

// Calls body(first row, number of rows) with a constant number: ROWS as long as that many are left, then fewer.
template <class F>
inline void in_rows(int64_t rows, F&& body) {
  int64_t n = 0;
  for (; n + ROWS <= rows; n += ROWS) body(n, Constant<ROWS>{});
  if (n + 4 <= rows) body(n, Constant<4>{}), n += 4;
  if (n + 2 <= rows) body(n, Constant<2>{}), n += 2;
  if (n < rows) body(n, Constant<1>{});
}
// Calls body(number of vectors for the columns that are left, at most VECTORS; number of valid lanes of the last
// vector).
template <int V = VECTORS, class F>
inline void in_vectors(int64_t left, F&& body) {
  if (left >= V * W) return body(Constant<V>{}, Full{});
  if constexpr (V == 1)
    body(Constant<V>{}, int(left));
  else if (left > (V - 1) * W)
    body(Constant<V>{}, int(left - (V - 1) * W));
  else
    in_vectors<V - 1>(left, body);
}

// Computes a b for `rows` rows of a [rows, depth] with stride `line`, and passes each result to
// `each(row, column, lanes, vector)`.
template <class F>
inline void multiply(const float* a, int64_t line, int64_t rows, const Columns& b, int64_t depth, int64_t columns,
                     F&& each) {
  for (int64_t c = 0; c < columns; c += C)
    in_vectors(columns - c, [&](auto vectors, auto lanes) {
      in_rows(rows, [&](int64_t n, auto some) {
        constexpr int R = decltype(some)::value, V = decltype(vectors)::value;
        vf sums[R][V] = {};
        tile<R, V>(a + n * line, Dense{}, line, b.at + c / C * b.step, b.row, depth, sums);
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
          for (int v = 0; v + 1 < V; ++v) each(n + r, c + v * W, Full{}, sums[r][v]);
          each(n + r, c + (V - 1) * W, lanes, sums[r][V - 1]);
        }
      });
    });
}

// Adds a^T b over `rows` rows of a and b to sums [count, columns], or overwrites `fresh` sums; whole vectors of columns
// can be read and written.
inline void accumulate(const float* a, int64_t a_line, int64_t count, const float* b, int64_t b_line, int64_t columns,
                       int64_t rows, float* sums, int64_t line, bool fresh) {
  for (int64_t c = 0; c < columns; c += C)
    in_vectors(columns - c, [&](auto vectors, auto) {
      in_rows(count, [&](int64_t i, auto some) {
        constexpr int R = decltype(some)::value, V = decltype(vectors)::value;
        float* to = sums + i * line + c;
        vf total[R][V];
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
          for (int v = 0; v < V; ++v) {
            float* sum = to + r * line + v * W;
            total[r][v] = fresh ? vf{} : load(sum, Full{});
            // Fresh sums are not read, but written where they may be far away.
            if (fresh) __builtin_prefetch(sum, 1);
          }
        tile<R, V>(a + i, a_line, Dense{}, b + c, b_line, rows, total);
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
          for (int v = 0; v < V; ++v) store(to + r * line + v * W, total[r][v], Full{});
      });
    });
}

// ------------------------------------------------------------------ to scratch memory
// Prefetches a row that is read soon. The processor predicts adjacent rows, but not rows that are far apart.
SP_INSIDE inline void ask_for(const float* row, int64_t size) {
  for (int64_t i = 0; i < size; i += 16) __builtin_prefetch(row + i);
}
// Number of rows to prefetch ahead.
constexpr int64_t AHEAD = 12;

// Copies [rows, size] to rows `line` apart, zero-padded to whole vectors.
inline void copy_rows(const float* from, int64_t stride, int64_t rows, int64_t size, float* to, int64_t line) {
  for (int64_t n = 0; n < rows; ++n, from += stride, to += line) {
    ask_for(from + AHEAD * stride, size);
    over(size, [&](int64_t i, auto lanes) { store(to + i, load(from + i, lanes), Full{}); });
  }
}

// Transposes W vectors of W numbers.
inline void turn_square(vf (&v)[W]) {
#if defined(__has_builtin) && __has_builtin(__builtin_shufflevector) && defined(__AVX2__)
  // Each round interleaves the halves of all rows, once for each bit of a row's index.
#pragma GCC unroll 4
  for (int round = 1; round < W; round *= 2) {
    vf next[W];
#pragma GCC unroll 16
    for (int i = 0; i < W / 2; ++i) {
#if defined(__AVX512F__)
      next[2 * i] = __builtin_shufflevector(v[i], v[i + W / 2], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      next[2 * i + 1] =
          __builtin_shufflevector(v[i], v[i + W / 2], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#else
      next[2 * i] = __builtin_shufflevector(v[i], v[i + W / 2], 0, 8, 1, 9, 2, 10, 3, 11);
      next[2 * i + 1] = __builtin_shufflevector(v[i], v[i + W / 2], 4, 12, 5, 13, 6, 14, 7, 15);
#endif
    }
#pragma GCC unroll 16
    for (int i = 0; i < W; ++i) v[i] = next[i];
  }
#else
  for (int i = 0; i < W; ++i)
    for (int j = 0; j < i; ++j) {
      const float other = v[i][j];
      v[i][j] = v[j][i];
      v[j][i] = other;
    }
#endif
}
// Copies rows [count, depth], `line` apart, to one panel [depth, C] of their transpose, times a factor; missing
// rows become zeros.
inline void turn_panel(const float* from, int64_t line, int64_t count, int64_t depth, float factor, float* to) {
  for (int64_t n = 0; n < C; n += W)
    for (int64_t k = 0; k < depth; k += W) {
      vf v[W];
      const int64_t lanes = depth - k;
      for (int i = 0; i < W; ++i) {
        const float* row = from + (n + i) * line + k;
        v[i] = n + i >= count ? vf{} : lanes >= W ? load(row, Full{}) : load(row, int(lanes));
        v[i] *= factor;
      }
      turn_square(v);
      for (int i = 0; i < W && i < lanes; ++i) store(to + (k + i) * C + n, v[i], Full{});
    }
}

// Copies columns [depth, columns] of a matrix with row stride `row` to the panel that begins at column `c`; missing
// columns become zeros.
inline void copy_panel(const float* from, int64_t row, int64_t depth, int64_t columns, int64_t c, float* to) {
  in_vectors(columns - c, [&](auto vectors, auto lanes) {
    constexpr int V = decltype(vectors)::value;
    for (int64_t k = 0; k < depth; ++k, to += C) {
      const float* at = from + k * row + c;
      for (int v = 0; v + 1 < V; ++v) store(to + v * W, load(at + v * W, Full{}), Full{});
      store(to + (V - 1) * W, load(at + (V - 1) * W, lanes), Full{});
      for (int v = V; v < VECTORS; ++v) store(to + v * W, vf{}, Full{});
    }
  });
}

}  // namespace
