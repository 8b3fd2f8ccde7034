// Attention of one head: softmax(Q K^T / sqrt(d)) V and its gradients, a few queries at a time against all keys.
//
// Keys and values are turned once per head, so that every product runs along memory; scores stay in the cache. Part of
// kernels.cpp.
#pragma once
#include "kernels.h"
#include "vectors.h"

namespace {

using sp::Attention;

// Queries at a time: with two vectors of keys they fill the registers.
constexpr int R = 6, C = 2 * W;

inline int64_t padded(int64_t count) { return (count + C - 1) / C * C; }
// Between rows of scores: a power of two would send them all to one place of the cache.
inline int64_t line_of(int64_t count) { return padded(count) + C; }

int64_t attention_scratch(int64_t count, int64_t size, bool backward) {
  const int64_t forward = size * padded(count) + R * line_of(count) + R * size;
  return backward ? 2 * forward + 2 * count * size : forward;
}

// [count, size] with a stride to panels [size, C] of C rows each, zeros behind the end.
inline void turn(const float* from, int64_t count, int64_t size, int64_t stride, float* to) {
  for (int64_t n0 = 0; n0 < count; n0 += C, to += size * C) {
    for (int64_t i = 0; i < size; ++i)
      for (int j = 0; j < C; ++j) to[i * C + j] = n0 + j < count ? from[(n0 + j) * stride + i] : 0.0f;
  }
}
// `rows` rows to [size, R], times a factor, zeros for rows that are not there.
inline void turn_rows(const float* from, int rows, int64_t size, int64_t stride, float factor, float* to) {
  for (int64_t i = 0; i < size; ++i)
    for (int r = 0; r < R; ++r) to[i * R + r] = r < rows ? from[r * stride + i] * factor : 0.0f;
}

// [R, line] products of R rows and `count` columns, which lie in panels, up to a whole vector.
inline void products(const float* rows, const float* panels, int64_t size, int64_t count, int64_t line, float* to) {
  int64_t c = 0;
  for (; c + W < count; c += C) {
    vf a[R] = {}, b[R] = {};
    const float *p = panels + c * size, *q = rows;
    for (int64_t i = 0; i < size; ++i, p += C, q += R) {
      const vf x = load(p, Full{}), y = load(p + W, Full{});
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        const vf s = splat(q[r]);
        a[r] += s * x;
        b[r] += s * y;
      }
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      store(to + r * line + c, a[r], Full{});
      store(to + r * line + c + W, b[r], Full{});
    }
  }
  if (c >= count) return;
  vf a[R] = {};
  const float *p = panels + c * size, *q = rows;
  for (int64_t i = 0; i < size; ++i, p += C, q += R) {
    const vf x = load(p, Full{});
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) a[r] += splat(q[r]) * x;
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) store(to + r * line + c, a[r], Full{});
}

// R rows of weights [R, line] times [count, size]: `each(row, column, lanes, vector)` takes the results.
template <class N, class F>
inline void mix_columns(const float* weights, int64_t line, const float* from, int64_t count, int64_t stride, int64_t c,
                        N n, F&& each) {
  vf a[R] = {};
  for (int64_t j = 0; j < count; ++j) {
    const vf x = load(from + j * stride + c, n);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) a[r] += splat(weights[r * line + j]) * x;
  }
  for (int r = 0; r < R; ++r) each(r, c, n, a[r]);
}
template <class F>
inline void mix(const float* weights, int64_t line, const float* from, int64_t count, int64_t size, int64_t stride,
                F&& each) {
  int64_t c = 0;
  for (; c + C <= size; c += C) {
    vf a[R] = {}, b[R] = {};
    for (int64_t j = 0; j < count; ++j) {
      const float* p = from + j * stride + c;
      const vf x = load(p, Full{}), y = load(p + W, Full{});
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        const vf s = splat(weights[r * line + j]);
        a[r] += s * x;
        b[r] += s * y;
      }
    }
    for (int r = 0; r < R; ++r) {
      each(r, c, Full{}, a[r]);
      each(r, c + W, Full{}, b[r]);
    }
  }
  if (c + W <= size) {
    mix_columns(weights, line, from, count, stride, c, Full{}, each);
    c += W;
  }
  if (c < size) mix_columns(weights, line, from, count, stride, c, int(size - c), each);
}

// to [count, size] += weights [R, line]^T times R rows.
template <class N>
inline void spread_columns(const float* weights, int64_t line, const float* const* rows, int64_t count, int64_t size,
                           int64_t c, N n, float* to) {
  vf x[R];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) x[r] = load(rows[r] + c, n);
  for (int64_t j = 0; j < count; ++j) {
    vf t = load(to + j * size + c, n);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) t += splat(weights[r * line + j]) * x[r];
    store(to + j * size + c, t, n);
  }
}
inline void spread(const float* weights, int64_t line, const float* const* rows, int64_t count, int64_t size, float* to) {
  int64_t c = 0;
  for (; c + C <= size; c += C) {
    vf x[R], y[R];
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      x[r] = load(rows[r] + c, Full{});
      y[r] = load(rows[r] + c + W, Full{});
    }
    for (int64_t j = 0; j < count; ++j) {
      float* p = to + j * size + c;
      vf t = load(p, Full{}), u = load(p + W, Full{});
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        const vf s = splat(weights[r * line + j]);
        t += s * x[r];
        u += s * y[r];
      }
      store(p, t, Full{});
      store(p + W, u, Full{});
    }
  }
  if (c + W <= size) {
    spread_columns(weights, line, rows, count, size, c, Full{}, to);
    c += W;
  }
  if (c < size) spread_columns(weights, line, rows, count, size, c, int(size - c), to);
}

// The largest of `count` numbers, behind which there are others up to a whole vector.
inline float largest(const float* x, int64_t count) {
  const vf least = splat(-3e38f);
  vf most = least;
  over(count, [&](int64_t i, auto n) {
    vf v = load(x + i, Full{});
    if (int(n) < W) v = lanes() < int(n) ? v : least;
    most = v > most ? v : most;
  });
  return most_of(most);
}

void attention(const Attention& t) {
  const int64_t wide = padded(t.count), line = line_of(t.count);
  float *keys = t.scratch, *scores = keys + t.size * wide, *queries = scores + R * line;
  const float factor = 1.0f / root(float(t.size));
  turn(t.k, t.count, t.size, t.stride, keys);
  for (int64_t first = 0; first < t.count; first += R) {
    const int rows = int(t.count - first < R ? t.count - first : R);
    turn_rows(t.q + first * t.stride, rows, t.size, t.stride, factor, queries);
    products(queries, keys, t.size, t.count, line, scores);
    float part[R];
    for (int r = 0; r < R; ++r) {
      float* row = scores + r * line;
      const float most = largest(row, t.count);
      vf total{};
      over(t.count, [&](int64_t i, auto n) {
        vf p = only(exponential(load(row + i, Full{}) - most), n);
        total += p;
        store(row + i, p, Full{});
      });
      const float all = sum(total);
      part[r] = 1.0f / all;
      if (r < rows) t.log_sums[first + r] = most + __builtin_logf(all);
    }
    mix(scores, line, t.v, t.count, t.size, t.v_stride, [&](int r, int64_t c, auto n, vf value) {
      if (r < rows) store(t.out + (first + r) * t.stride + c, value * part[r], n);
    });
  }
}

void attention_backward(const Attention& t) {
  const int64_t wide = padded(t.count), line = line_of(t.count);
  float *keys = t.scratch, *values = keys + t.size * wide, *weights = values + t.size * wide;
  float *slopes = weights + R * line, *queries = slopes + R * line, *grads = queries + R * t.size;
  float *dk = grads + R * t.size, *dv = dk + t.count * t.size;
  const float factor = 1.0f / root(float(t.size));
  turn(t.k, t.count, t.size, t.stride, keys);
  turn(t.v, t.count, t.size, t.v_stride, values);
  memset(dk, 0, size_t(2 * t.count * t.size) * sizeof(float));
  for (int64_t first = 0; first < t.count; first += R) {
    const int rows = int(t.count - first < R ? t.count - first : R);
    turn_rows(t.q + first * t.stride, rows, t.size, t.stride, factor, queries);
    turn_rows(t.grad + first * t.stride, rows, t.size, t.stride, 1.0f, grads);
    products(queries, keys, t.size, t.count, line, weights);
    products(grads, values, t.size, t.count, line, slopes);
    const float *q_rows[R], *grad_rows[R];
    for (int r = 0; r < R; ++r) {
      float *p = weights + r * line, *s = slopes + r * line;
      // A row that is not there stands for the last one with weights of zero.
      const int64_t at = (first + (r < rows ? r : rows - 1)) * t.stride;
      q_rows[r] = t.q + at;
      grad_rows[r] = t.grad + at;
      if (r >= rows) {
        memset(p, 0, size_t(line) * sizeof(float));
        memset(s, 0, size_t(line) * sizeof(float));
        continue;
      }
      vf total{};
      over(t.size, [&](int64_t i, auto n) { total += load(t.grad + at + i, n) * load(t.out + at + i, n); });
      const float mean = sum(total), log_sum = t.log_sums[first + r];
      over(t.count, [&](int64_t i, auto n) {
        vf weight = only(exponential(load(p + i, Full{}) - log_sum), n);
        store(p + i, weight, Full{});
        store(s + i, weight * (load(s + i, Full{}) - mean), Full{});
      });
    }
    spread(weights, line, grad_rows, t.count, t.size, dv);
    spread(slopes, line, q_rows, t.count, t.size, dk);
    mix(slopes, line, t.k, t.count, t.size, t.stride, [&](int r, int64_t c, auto n, vf value) {
      if (r < rows) store(t.dq + (first + r) * t.stride + c, value * factor, n);
    });
  }
  for (int64_t j = 0; j < t.count; ++j) {
    over(t.size, [&](int64_t i, auto n) {
      store(t.dk + j * t.stride + i, load(dk + j * t.size + i, n) * factor, n);
      store(t.dv + j * t.stride + i, load(dv + j * t.size + i, n), n);
    });
  }
}

}  // namespace
