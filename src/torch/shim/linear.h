// Linear maps of some tokens and the feed-forward part of a block, with their gradients.
//
// A slice of the weights, and of the sums for their gradients, stays in the L2 cache for all tokens of a task,
// which are processed BLOCK at a time; intermediate results of a block of tokens stay there too. Part of
// kernels.cpp.
#pragma once
#include "kernels.h"
#include "products.h"

namespace {

using sp::Linear;
using sp::Mlp;
using sp::Storage;

constexpr int64_t BLOCK = 96;

// Returns the number of outputs of a first layer, or inputs of a second, that are processed at a time.
inline int64_t slice_of(int64_t wide) { return wide * C < 16384 ? 16384 / wide / C * C : C; }

template <class F>
inline void in_runs(int64_t count, int64_t most, F&& body) {
  for (int64_t n = 0; n < count; n += most) body(n, count - n < most ? count - n : most);
}
// Returns the rows from `first` on of a matrix in panels.
inline Columns rows_from(const float* panels, int64_t depth, int64_t first) {
  return {panels + first * C, depth * C, C};
}

// ------------------------------------------------------------------ weights
void pack(const float* matrix, bool turned, int64_t depth, int64_t columns, int64_t column, float* to) {
  if (turned)
    turn_panel(matrix + column * depth, depth, columns - column, depth, 1.0f, to);
  else
    copy_panel(matrix, columns, depth, columns, column, to);
}

// ------------------------------------------------------------------ GELU
// 0.5 x (1 + tanh(u)) = x s(2u), with s the logistic function and u = sqrt(2 / pi) (x + 0.044715 x^3).
constexpr float TWICE = 1.5957691216f, CUBIC = 0.044715f;

inline SP_INSIDE vf logistic_of(vf x) {
  const vf u = x * (x * x * (-TWICE * LOG2_E * CUBIC) - TWICE * LOG2_E);
  return 1.0f / (power_of_two(u) + 1.0f);
}
inline SP_INSIDE vf gelu_of(vf x) { return x * logistic_of(x); }
struct Slope {
  vf value, slope;
};
inline SP_INSIDE Slope gelu_slope(vf x) {
  const vf s = logistic_of(x), value = x * s;
  return {value, s + value * (1.0f - s) * ((x * x * (3 * CUBIC) + 1.0f) * TWICE)};
}

template <class T>
void gelu_as(const T* x, T* y, int64_t count) {
  over(count, [&](int64_t i, auto n) { store(y + i, gelu_of(load(x + i, n)), n); });
}
template <class T>
void gelu_backward_as(const T* x, T* dy_dx, T* y, int64_t count) {
  over(count, [&](int64_t i, auto n) {
    const Slope g = gelu_slope(load(x + i, n));
    store(dy_dx + i, load(dy_dx + i, n) * g.slope, n);
    if (y) store(y + i, g.value, n);
  });
}
void gelu(Storage storage, const void* x, void* y, int64_t count) {
  if (storage == sp::BF16)
    gelu_as((const bf16*)x, (bf16*)y, count);
  else
    gelu_as((const float*)x, (float*)y, count);
}
void gelu_backward(Storage storage, const void* x, void* dy_dx, void* y, int64_t count) {
  if (storage == sp::BF16)
    gelu_backward_as((const bf16*)x, (bf16*)dy_dx, (bf16*)y, count);
  else
    gelu_backward_as((const float*)x, (float*)dy_dx, (float*)y, count);
}

// ------------------------------------------------------------------ one linear map
// Adds the rows of a matrix in scratch memory to sums [size].
inline void add_rows(const float* from, int64_t line, int64_t rows, int64_t size, float* sums) {
  over(size, [&](int64_t c, auto n) {
    vf total = load(sums + c, n);
    for (int64_t r = 0; r < rows; ++r) total += load(from + r * line + c, Full{});
    store(sums + c, total, n);
  });
}

void linear(const Linear& t) {
  in_runs(t.out, slice_of(t.in), [&](int64_t o, int64_t outs) {
    in_runs(t.count, BLOCK, [&](int64_t first, int64_t rows) {
      float* y = t.y + first * t.out + o;
      multiply(t.x + first * t.in, t.in, rows, panels_of(t.panels + o * t.in, t.in), t.in, outs,
               [&](int64_t r, int64_t c, auto n, vf v) { store(y + r * t.out + c, v + load(t.bias + o + c, n), n); });
    });
  });
}

int64_t linear_scratch(int64_t in) { return BLOCK * (line_of(in) + line_of(slice_of(in))); }
void linear_backward(const Linear& t) {
  const int64_t slice = slice_of(t.in), in = line_of(t.in), out = line_of(slice);
  float *x = t.scratch, *dy = x + BLOCK * in;
  in_runs(t.out, slice, [&](int64_t o, int64_t outs) {
    in_runs(t.count, BLOCK, [&](int64_t first, int64_t rows) {
      copy_rows(t.dy + first * t.out + o, t.out, rows, outs, dy, out);
      if (t.dweight) {
        copy_rows(t.x + first * t.in, t.in, rows, t.in, x, in);
        const int64_t line = whole(t.in, W);
        accumulate(dy, out, outs, x, in, t.in, rows, t.dweight + o * line, line, !first);
        add_rows(dy, out, rows, outs, t.dbias + o);
      }
      if (!t.dx) return;
      float* dx = t.dx + first * t.in;
      multiply(dy, out, rows, rows_from(t.panels, t.out, o), outs, t.in, [&](int64_t r, int64_t c, auto n, vf v) {
        store(dx + r * t.in + c, o ? load(dx + r * t.in + c, n) + v : v, n);
      });
    });
  });
}

// ------------------------------------------------------------------ feed-forward
inline int64_t slice_of(const Mlp& t) { return slice_of(t.in > t.out ? t.in : t.out); }

int64_t mlp_scratch(int64_t in, int64_t out) {
  return BLOCK * (line_of(in) + 2 * line_of(slice_of(in > out ? in : out)) + line_of(out));
}
void mlp(const Mlp& t) {
  const int64_t slice = slice_of(t), line = line_of(slice);
  in_runs(t.inner, slice, [&](int64_t s, int64_t inner) {
    in_runs(t.count, BLOCK, [&](int64_t first, int64_t rows) {
      float *h = t.h ? t.h + first * t.inner + s : nullptr, *a = t.scratch, *y = t.y + first * t.out;
      multiply(t.x + first * t.in, t.in, rows, panels_of(t.first + s * t.in, t.in), t.in, inner,
               [&](int64_t r, int64_t c, auto n, vf v) SP_INSIDE {
                 v += load(t.bias1 + s + c, n);
                 if (h) store(h + r * t.inner + c, v, n);
                 store(a + r * line + c, gelu_of(v), Full{});
               });
      multiply(a, line, rows, rows_from(t.second, t.inner, s), inner, t.out, [&](int64_t r, int64_t c, auto n, vf v) {
        float* to = y + r * t.out + c;
        store(to, v + load(s ? to : t.bias2 + c, n), n);
      });
    });
  });
}

void mlp_backward(const Mlp& t) {
  const int64_t slice = slice_of(t), in = line_of(t.in), wide = line_of(slice), out = line_of(t.out);
  float *x = t.scratch, *dy = x + BLOCK * in, *a = dy + BLOCK * out, *da = a + BLOCK * wide;
  in_runs(t.inner, slice, [&](int64_t s, int64_t inner) {
    in_runs(t.count, BLOCK, [&](int64_t first, int64_t rows) {
      copy_rows(t.x + first * t.in, t.in, rows, t.in, x, in);
      copy_rows(t.dy + first * t.out, t.out, rows, t.out, dy, out);
      // The activation is recomputed, not stored: it is cheap to compute and four times as large as a token.
      const float* h = t.h + first * t.inner + s;
      for (int64_t r = 0; r < rows; ++r) ask_for(h + r * t.inner, inner);
      multiply(dy, out, rows, panels_of(t.second + s * t.out, t.out), t.out, inner,
               [&](int64_t r, int64_t c, auto n, vf v) SP_INSIDE {
                 const Slope g = gelu_slope(load(h + r * t.inner + c, n));
                 store(a + r * wide + c, g.value, Full{});
                 store(da + r * wide + c, v * g.slope, Full{});
               });
      const int64_t first_line = whole(t.in, W), second_line = whole(t.inner, W);
      accumulate(dy, out, t.out, a, wide, inner, rows, t.dsecond + s, second_line, !first);
      accumulate(da, wide, inner, x, in, t.in, rows, t.dfirst + s * first_line, first_line, !first);
      if (s == 0) add_rows(dy, out, rows, t.out, t.dbias2);
      add_rows(da, wide, rows, inner, t.dbias1 + s);
      if (!t.dx) return;
      float* dx = t.dx + first * t.in;
      multiply(da, wide, rows, rows_from(t.first, t.inner, s), inner, t.in, [&](int64_t r, int64_t c, auto n, vf v) {
        store(dx + r * t.in + c, s ? load(dx + r * t.in + c, n) + v : v, n);
      });
    });
  });
}

}  // namespace
