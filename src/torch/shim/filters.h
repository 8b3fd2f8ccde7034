// The gated residual with corrections, one slab of channels of one image at a time, which stays in the caches while
// the filters run. Part of kernels.cpp.
//
// Filters only process whole vectors. A slab of float32 in whole vectors is read where it is, another is first copied
// to float32 [N, CHANNELS_PER_TASK], zero-padded after its last channel.
#pragma once
#include "kernels.h"
#include "vectors.h"

namespace {

using sp::CHANNELS_PER_TASK;
using sp::CorrectedTask;
using sp::Filter;
using sp::MOST_FILTERS;
using sp::STRIP;
using sp::Strip;
using sp::Strips;

// ------------------------------------------------------------------ memory that is needed soon
// Fetches tokens into the caches, a token of each array at a time: filters compute while memory is awaited, unless so
// much is asked for at once that the processor has to queue it.
class Ahead {
 public:
  explicit Ahead(const CorrectedTask& t) : t(t), tokens(t.grid * t.grid) {}

  // Always inlined: GCC 12 takes a function that only prefetches for one without effects, and drops its calls.
  SP_INSIDE void fetch() {
    if (next == tokens) return;
    for (const sp::Soon& s : t.soon) {
      if (!s.tokens) continue;
      constexpr int64_t LINE = 64;
      const int64_t bytes = s.storage == sp::F32 ? sizeof(float) : sizeof(bf16);
      const char* token = (const char*)s.tokens + next * t.stride * bytes;
      for (int64_t i = 0; i < t.size * bytes; i += LINE) __builtin_prefetch(token + i);
    }
    ++next;
  }

 private:
  const CorrectedTask& t;
  const int64_t tokens;
  int64_t next = 0;
};

// ------------------------------------------------------------------ small matrices
// Multiplies `R` rows of a strip by V vectors of each line.
template <int R, int V>
__attribute__((always_inline)) inline void tile(const float* weights, int64_t length, const float* from,
                                                int64_t from_stride, float* to, int64_t to_stride, Ahead& ahead) {
  ahead.fetch();
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
                                                 int64_t from_stride, float* to, int64_t to_stride, int64_t width,
                                                 Ahead& ahead) {
  // As many as fit the registers: 32 with AVX-512, else 16.
  constexpr int V = W == 16 || R <= 2 ? 4 : 2;
  int64_t i = 0;
  for (; i + V * W <= width; i += V * W) tile<R, V>(weights, length, from + i, from_stride, to + i, to_stride, ahead);
  for (; i < width; i += W) tile<R, 1>(weights, length, from + i, from_stride, to + i, to_stride, ahead);
}

// Computes line i of `to` as the sum over j of matrix[i, j] times line j of `from`, for lines of `width` numbers.
inline void multiply(const Strips& matrix, const float* from, int64_t from_stride, float* to, int64_t to_stride,
                     int64_t width, Ahead& ahead) {
  for (int64_t s = 0; s < matrix.count; ++s) {
    const Strip& t = matrix.strips[s];
    const float *weights = t.weights, *first = from + t.start * from_stride;
    float* line = to + t.row * to_stride;
    switch (t.rows) {
      case 1:
        strip<1>(weights, t.length, first, from_stride, line, to_stride, width, ahead);
        break;
      case 2:
        strip<2>(weights, t.length, first, from_stride, line, to_stride, width, ahead);
        break;
      case 3:
        strip<3>(weights, t.length, first, from_stride, line, to_stride, width, ahead);
        break;
      default:
        strip<4>(weights, t.length, first, from_stride, line, to_stride, width, ahead);
    }
  }
}

// Writes the sums of opposite lines, then the middle line alone, then the differences.
inline void fold(const float* from, int64_t stride, int64_t count, float* to, int64_t width) {
  const int64_t half = count / 2, even = count - half;
  for (int64_t j = 0; j < half; ++j)
    for (int64_t i = 0; i < width; i += W) {
      const vf a = load(from + j * stride + i, Full{}), b = load(from + (count - 1 - j) * stride + i, Full{});
      store(to + j * CHANNELS_PER_TASK + i, a + b, Full{});
      store(to + (even + j) * CHANNELS_PER_TASK + i, a - b, Full{});
    }
  if (half < even)
    for (int64_t i = 0; i < width; i += W)
      store(to + half * CHANNELS_PER_TASK + i, load(from + half * stride + i, Full{}), Full{});
}
// The transpose of fold.
inline void unfold(const float* from, int64_t count, float* to, int64_t stride, int64_t width) {
  const int64_t half = count / 2, even = count - half;
  for (int64_t j = 0; j < half; ++j)
    for (int64_t i = 0; i < width; i += W) {
      const vf a = load(from + j * CHANNELS_PER_TASK + i, Full{}),
               b = load(from + (even + j) * CHANNELS_PER_TASK + i, Full{});
      store(to + j * stride + i, a + b, Full{});
      store(to + (count - 1 - j) * stride + i, a - b, Full{});
    }
  if (half < even)
    for (int64_t i = 0; i < width; i += W)
      store(to + half * stride + i, load(from + half * CHANNELS_PER_TASK + i, Full{}), Full{});
}

// ------------------------------------------------------------------ filters of a slab
// Each maps [grid, grid, CHANNELS_PER_TASK] to the same shape, of which the first `width` numbers of a line are used.
// The tokens that `spectrum` reads may have another distance, `step`.

inline void across(const Strips& matrix, int64_t grid, const float* from, float* to, int64_t width, Ahead& ahead) {
  for (int64_t row = 0; row < grid; ++row)
    multiply(matrix, from + row * grid * CHANNELS_PER_TASK, CHANNELS_PER_TASK, to + row * grid * CHANNELS_PER_TASK,
             CHANNELS_PER_TASK, width, ahead);
}

// Computes Q^T (gains * (Q X Q^T)) Q. Even or odd rows of Q use folded lines, half as long. `waves`
// [grid, grid, CHANNELS_PER_TASK].
inline void spectrum(const Filter& t, int64_t grid, const float* from, int64_t step, float* to, float* waves,
                     float* lines, int64_t width, Ahead& ahead) {
  const int64_t line = grid * CHANNELS_PER_TASK;
  float* other = lines + line;
  for (int64_t column = 0; column < grid; ++column) {
    fold(from + column * step, grid * step, grid, lines, width);
    multiply(t.forth, lines, CHANNELS_PER_TASK, waves + column * CHANNELS_PER_TASK, line, width, ahead);
  }
  for (int64_t k = 0; k < t.kept; ++k) {
    fold(waves + k * line, CHANNELS_PER_TASK, grid, lines, width);
    multiply(t.forth, lines, CHANNELS_PER_TASK, other, CHANNELS_PER_TASK, width, ahead);
    for (int64_t l = 0; l < t.kept; ++l)
      for (int64_t i = 0; i < width; i += W)
        store(other + l * CHANNELS_PER_TASK + i,
              load(other + l * CHANNELS_PER_TASK + i, Full{}) * t.gains[k * t.kept + l], Full{});
    multiply(t.back, other, CHANNELS_PER_TASK, lines, CHANNELS_PER_TASK, width, ahead);
    unfold(lines, grid, waves + k * line, CHANNELS_PER_TASK, width);
  }
  for (int64_t column = 0; column < grid; ++column) {
    multiply(t.back, waves + column * CHANNELS_PER_TASK, line, lines, CHANNELS_PER_TASK, width, ahead);
    unfold(lines, grid, to + column * CHANNELS_PER_TASK, line, width);
  }
}

// Computes C entries of row `i` from column `j` of the gradient of M in M X M^T; see below.
template <int C>
inline void entries(int64_t grid, const float* hm, const float* mth, const float* x, const float* mix, int64_t width,
                    int64_t i, int64_t j, float* to) {
  const int64_t line = grid * CHANNELS_PER_TASK;
  vf total[C] = {};
  for (int64_t v = 0; v < width; v += W) {
    const float *a = hm + i * line + v, *b = mth + i * CHANNELS_PER_TASK + v, *p = x + j * line + v,
                *q = x + j * CHANNELS_PER_TASK + v;
    vf sums[C] = {};
    for (int64_t k = 0; k < grid; ++k, a += CHANNELS_PER_TASK, b += line, p += CHANNELS_PER_TASK, q += line) {
      const vf left = load(a, Full{}), right = load(b, Full{});
#pragma GCC unroll 5
      for (int c = 0; c < C; ++c) {
        sums[c] += left * load(p + c * line, Full{});
        sums[c] += right * load(q + c * CHANNELS_PER_TASK, Full{});
      }
    }
#pragma GCC unroll 5
    for (int c = 0; c < C; ++c) total[c] += sums[c] * load(mix + v, Full{});
  }
  for (int c = 0; c < C; ++c) to[i * grid + j + c] = sum(total[c]);
}

// Computes the gradient of M from the gradient H [grid, grid, CHANNELS_PER_TASK] of the result and its products: H M
// X^T + H^T M X, summed over channels, each times its gate and factor. Only the entries within the runs of M are
// written.
inline void matrix_gradient(const Filter& t, int64_t grid, const float* hm, const float* mth, const float* x,
                            const float* mix, int64_t width, float* to) {
  for (int64_t i = 0; i < grid; ++i) {
    const int64_t last = t.start[i] + t.length[i];
    int64_t j = t.start[i];
    for (; j + 5 <= last; j += 5) entries<5>(grid, hm, mth, x, mix, width, i, j, to);
    if (j + 3 <= last) {
      entries<3>(grid, hm, mth, x, mix, width, i, j, to);
      j += 3;
    }
    for (; j < last; ++j) entries<1>(grid, hm, mth, x, mix, width, i, j, to);
  }
}

// ------------------------------------------------------------------ the gated residual
template <class T>
inline void gather(const T* from, int64_t count, int64_t stride, int64_t size, float* to) {
  for (int64_t n = 0; n < count; ++n)
    over(size, [&](int64_t i, auto lanes) {
      store(to + n * CHANNELS_PER_TASK + i, load(from + n * stride + i, lanes), Full{});
    });
}

int64_t corrected_scratch(int64_t grid, int64_t filters) {
  return CHANNELS_PER_TASK * ((3 + filters) * grid * grid + (2 + filters) * grid + 1 + filters) + W;
}

// Layout of the scratch memory; most parts are whole slabs.
struct Parts {
  int64_t tokens, part, line, width;
  // `passed`: for each filter its output over the columns or, for a filter with `back`, its full output; `lines`:
  // the output of each filter for one row; `mix`: the gate times each factor.
  float *copy, *m, *second, *passed, *lines, *mix;
  // The tokens that are filtered, and the distance between two of them.
  const float* given;
  int64_t step;

  explicit Parts(const CorrectedTask& t)
      : tokens(t.grid * t.grid),
        part(tokens * CHANNELS_PER_TASK),
        line(t.grid * CHANNELS_PER_TASK),
        width((t.size + W - 1) / W * W) {
    // Vectors that cross two cache lines take twice as long.
    copy = t.scratch + (W - uintptr_t(t.scratch) / sizeof(float) % W) % W;
    m = copy + part;
    second = m + part;
    passed = second + part;
    lines = passed + t.count * part;
    mix = lines + (2 + t.count) * line;
    for (int64_t k = 0; k <= t.count; ++k) {
      const float* factors = t.factors + k * t.factor_step;
      over(t.size, [&](int64_t i, auto n) {
        const vf factor = t.channels ? load(factors + i, n) : splat(*factors);
        store(mix + k * CHANNELS_PER_TASK + i, t.gate ? load(t.gate + i, n) * factor : factor, Full{});
      });
    }
  }

  // Reads tokens in place, or copies them if they are stored in another way or `must`.
  void take(const float* tokens_given, const CorrectedTask& t, bool must) {
    if (must || t.size % W || t.stride % W) return take<float>(tokens_given, t, must);
    given = tokens_given;
    step = t.stride;
  }
  template <class T>
  void take(const T* tokens_given, const CorrectedTask& t, bool) {
    gather(tokens_given, tokens, t.stride, t.size, copy);
    given = copy;
    step = CHANNELS_PER_TASK;
  }
  // Filters the columns with all filters, reading each column once.
  void columns(const CorrectedTask& t, Ahead& ahead) const {
    for (int64_t column = 0; column < t.grid; ++column) {
      for (int64_t k = 0; k < t.count; ++k)
        if (!t.filters[k].back.count)
          multiply(t.filters[k].forth, given + column * step, t.grid * step,
                   passed + k * part + column * CHANNELS_PER_TASK, line, width, ahead);
    }
    for (int64_t k = 0; k < t.count; ++k)
      if (t.filters[k].back.count)
        spectrum(t.filters[k], t.grid, given, step, passed + k * part, second, lines, width, ahead);
  }
  // Computes the output of each filter for a row of the grid.
  void row(const CorrectedTask& t, int64_t row, const float* (&low)[MOST_FILTERS], Ahead& ahead) const {
    for (int64_t k = 0; k < t.count; ++k) {
      const float* from = passed + k * part + row * line;
      float* to = lines + k * line;
      if (!t.filters[k].back.count)
        multiply(t.filters[k].forth, from, CHANNELS_PER_TASK, to, CHANNELS_PER_TASK, width, ahead);
      low[k] = t.filters[k].back.count ? from : to;
    }
  }
};

// Calls run with the number of filters as a constant if it is small, else with 0, so that vectors stay in registers.
template <class F>
inline void for_count(int64_t count, F&& run) {
  switch (count) {
    case 1:
      return run(Constant<1>{});
    case 2:
      return run(Constant<2>{});
    default:
      return run(Constant<0>{});
  }
}

// Computes a row of the result: adds to x or, with ALONE, to zero. The product and the sum must be one expression to
// become one instruction, which rounds as the plain residual does.
template <bool ALONE, int K, class X>
inline void add_row(const CorrectedTask& t, const Parts& s, const float* given, const float* const* low, const X* x,
                    X* out) {
  // Copied, since the compiler has to expect that a store changes what it reads through a pointer.
  const int64_t count = K ? K : t.count, tokens = t.grid, stride = t.stride, step = s.step;
  const float* mixes = s.mix;
  over(t.size, [&](int64_t i, auto lanes) {
    const vf whole = load(mixes + i, Full{});
    vf mix[K ? K : MOST_FILTERS];
    const float* passed[K ? K : MOST_FILTERS];
#pragma GCC unroll 2
    for (int64_t k = 0; k < count; ++k) {
      mix[k] = load(mixes + (k + 1) * CHANNELS_PER_TASK + i, Full{});
      passed[k] = low[k] + i;
    }
    for (int64_t n = 0; n < tokens; ++n) {
      const vf value = load(given + n * step + i, Full{});
      vf sum = ALONE ? whole * value : whole * value + load(x + n * stride + i, lanes);
#pragma GCC unroll 2
      for (int64_t k = 0; k < count; ++k) sum += load(passed[k] + n * CHANNELS_PER_TASK, Full{}) * mix[k];
      store(out + n * stride + i, sum, lanes);
    }
  });
}
template <bool ALONE, class X, class M>
void corrected_to(const CorrectedTask& t) {
  Parts s(t);
  s.take((const M*)t.m, t, false);
  Ahead ahead(t);
  s.columns(t, ahead);
  const float* low[MOST_FILTERS];
  for (int64_t row = 0; row < t.grid; ++row) {
    s.row(t, row, low, ahead);
    const int64_t start = row * t.grid;
    for_count(t.count, [&](auto k) {
      add_row<ALONE, k.value>(t, s, s.given + start * s.step, low, (const X*)t.x + start * t.stride,
                              (X*)t.out + start * t.stride);
    });
  }
}
template <class X, class M>
void corrected_as(const CorrectedTask& t) {
  if (t.x)
    corrected_to<false, X, M>(t);
  else
    corrected_to<true, X, M>(t);
}

// Computes the gradients of a row, and adds to the sums.
template <int K, class M>
inline void back_row(const CorrectedTask& t, const Parts& s, const float* given, const float* const* low, const M* m,
                     M* dm) {
  const int64_t count = K ? K : t.count, tokens = t.grid, stride = t.stride, step = s.step;
  const float* mixes = s.mix;
  float* totals = t.sums;
  over(t.size, [&](int64_t i, auto lanes) {
    const vf whole = load(mixes + i, Full{});
    vf total = load(totals + i, lanes), mix[K ? K : MOST_FILTERS], sums[K ? K : MOST_FILTERS];
    const float* passed[K ? K : MOST_FILTERS];
#pragma GCC unroll 2
    for (int64_t k = 0; k < count; ++k) {
      mix[k] = load(mixes + (k + 1) * CHANNELS_PER_TASK + i, Full{});
      sums[k] = load(totals + (k + 1) * stride + i, lanes);
      passed[k] = low[k] + i;
    }
    for (int64_t n = 0; n < tokens; ++n) {
      const vf gradient = load(given + n * step + i, Full{}), value = load(m + n * stride + i, lanes);
      vf mixed = gradient * whole;
      total += gradient * value;
#pragma GCC unroll 2
      for (int64_t k = 0; k < count; ++k) {
        const vf part = load(passed[k] + n * CHANNELS_PER_TASK, Full{});
        mixed += part * mix[k];
        sums[k] += part * value;
      }
      store(dm + n * stride + i, mixed, lanes);
    }
    store(totals + i, total, lanes);
#pragma GCC unroll 2
    for (int64_t k = 0; k < count; ++k) store(totals + (k + 1) * stride + i, sums[k], lanes);
  });
}

template <class X, class M>
void corrected_backward_as(const CorrectedTask& t) {
  Parts s(t);
  bool trained = false;
  for (int64_t k = 0; k < t.count; ++k) trained = trained || t.filters[k].start;
  s.take((const X*)t.x, t, trained);
  Ahead ahead(t);
  s.columns(t, ahead);
  bool gathered = false;
  for (int64_t k = 0; k < t.count; ++k) {
    const Filter& filter = t.filters[k];
    if (!filter.start) continue;
    if (!gathered) gather((const M*)t.m, s.tokens, t.stride, t.size, s.m);
    gathered = true;
    across(filter.forth, t.grid, s.given, s.second, s.width, ahead);
    matrix_gradient(filter, t.grid, s.second, s.passed + k * s.part, s.m, s.mix + (k + 1) * CHANNELS_PER_TASK, s.width,
                    t.matrices + k * s.tokens);
  }
  const float* low[MOST_FILTERS];
  for (int64_t row = 0; row < t.grid; ++row) {
    s.row(t, row, low, ahead);
    const int64_t start = row * t.grid;
    for_count(t.count, [&](auto k) {
      back_row<k.value>(t, s, s.given + start * s.step, low, (const M*)t.m + start * t.stride,
                        (M*)t.out + start * t.stride);
    });
  }
}

}  // namespace
