// See kernels.h. build.rs compiles this file with SP_ISA set to base, avx2 and avx512.
#include "kernels.h"

#include <string.h>

#include "attention.h"
#include "vectors.h"

#ifndef SP_ISA
#define SP_ISA base
#endif
#define SP_JOIN_(a, b) a##b
#define SP_JOIN(a, b) SP_JOIN_(a, b)
#define SP_TEXT_(a) #a
#define SP_TEXT(a) SP_TEXT_(a)

namespace {

using sp::Band;
using sp::Gated;
using sp::Storage;

// ------------------------------------------------------------------ layer norm and modulation
template <class T>
void norm_modulate_as(const T* x, const float* shift, const float* scale, T* y, float* mean, float* rstd, int64_t rows,
                      int64_t size, float eps) {
  for (int64_t row = 0; row < rows; ++row, x += size, y += size) {
    vf total{};
    over(size, [&](int64_t i, auto n) { total += load(x + i, n); });
    const float centre = sum(total) / float(size);
    vf squares{};
    over(size, [&](int64_t i, auto n) {
      vf d = only(load(x + i, n) - centre, n);
      squares += d * d;
    });
    const float r = 1.0f / root(sum(squares) / float(size) + eps);
    over(size, [&](int64_t i, auto n) {
      vf normal = (load(x + i, n) - centre) * r;
      store(y + i, normal * (load(scale + i, n) + 1.0f) + load(shift + i, n), n);
    });
    mean[row] = centre;
    rstd[row] = r;
  }
}

template <class T>
void norm_modulate_backward_as(const T* dy, const T* x, const float* scale, const float* mean, const float* rstd, T* dx,
                               float* sums, int64_t rows, int64_t size) {
  for (int64_t row = 0; row < rows; ++row, x += size, dy += size, dx += size) {
    const float centre = mean[row], r = rstd[row];
    vf plain{}, along{};
    over(size, [&](int64_t i, auto n) {
      vf d = load(dy + i, n), normal = only((load(x + i, n) - centre) * r, n);
      vf g = d * (load(scale + i, n) + 1.0f), dn = d * normal;
      plain += g;
      along += g * normal;
      store(sums + i, load(sums + i, n) + d, n);
      store(sums + size + i, load(sums + size + i, n) + dn, n);
    });
    const float first = sum(plain) / float(size), second = sum(along) / float(size);
    over(size, [&](int64_t i, auto n) {
      vf normal = (load(x + i, n) - centre) * r;
      vf g = load(dy + i, n) * (load(scale + i, n) + 1.0f);
      store(dx + i, (g - first - normal * second) * r, n);
    });
  }
}

void norm_modulate(Storage storage, const void* x, const float* shift, const float* scale, void* y, float* mean,
                   float* rstd, int64_t rows, int64_t size, float eps) {
  if (storage == sp::BF16)
    norm_modulate_as((const bf16*)x, shift, scale, (bf16*)y, mean, rstd, rows, size, eps);
  else
    norm_modulate_as((const float*)x, shift, scale, (float*)y, mean, rstd, rows, size, eps);
}
void norm_modulate_backward(Storage storage, const void* dy, const void* x, const float* scale, const float* mean,
                            const float* rstd, void* dx, float* sums, int64_t rows, int64_t size) {
  if (storage == sp::BF16)
    norm_modulate_backward_as((const bf16*)dy, (const bf16*)x, scale, mean, rstd, (bf16*)dx, sums, rows, size);
  else
    norm_modulate_backward_as((const float*)dy, (const float*)x, scale, mean, rstd, (float*)dx, sums, rows, size);
}

// ------------------------------------------------------------------ gated residual with a low-pass filter
// `to` = sum over a run of rows of `from`, each `stride` long: one row of a band matrix times a matrix.
template <class T>
inline void combine(const T* from, const float* weights, int32_t length, int64_t stride, int64_t count, float* to) {
  int64_t i = 0;
  for (; i + 4 * W <= count; i += 4 * W) {
    vf a{}, b{}, c{}, d{};
    const T* p = from + i;
    for (int32_t t = 0; t < length; ++t, p += stride) {
      const vf w = splat(weights[t]);
      a += w * load(p, Full{});
      b += w * load(p + W, Full{});
      c += w * load(p + 2 * W, Full{});
      d += w * load(p + 3 * W, Full{});
    }
    store(to + i, a, Full{});
    store(to + i + W, b, Full{});
    store(to + i + 2 * W, c, Full{});
    store(to + i + 3 * W, d, Full{});
  }
  over(count - i, [&](int64_t j, auto n) {
    vf a{};
    const T* p = from + i + j;
    for (int32_t t = 0; t < length; ++t, p += stride) a += load(p, n) * weights[t];
    store(to + i + j, a, n);
  });
}

// Row `row` of the filtered grid: columns first, then along the row. The result lies in scratch + grid * size.
template <class T>
inline const float* filtered_row(const Gated& t, const T* grid_values, int64_t row) {
  const int64_t line = t.grid * t.size;
  const Band& band = *t.band;
  float *down = t.scratch, *across = t.scratch + line;
  combine(grid_values + band.start[row] * line, band.weights + row * band.width, band.length[row], line, line, down);
  for (int64_t c = 0; c < t.grid; ++c)
    combine(down + band.start[c] * t.size, band.weights + c * band.width, band.length[c], t.size, t.size,
            across + c * t.size);
  return across;
}

template <class X, class M>
void gated_as(const Gated& t) {
  const int64_t width = t.band ? t.grid : 1, line = width * t.size;
  for (int64_t row = t.first; row < t.last; ++row) {
    const float* low = t.band ? filtered_row(t, (const M*)t.m, row) : nullptr;
    const X* x = (const X*)t.x + row * line;
    const M* m = (const M*)t.m + row * line;
    X* out = (X*)t.out + row * line;
    for (int64_t c = 0; c < width; ++c, x += t.size, m += t.size, out += t.size) {
      over(t.size, [&](int64_t i, auto n) {
        vf r = load(m + i, n);
        if (low) r = load(low + c * t.size + i, n) * t.b + r * t.a;
        store(out + i, load(t.gate + i, n) * r + load(x + i, n), n);
      });
    }
  }
}

template <class X, class M>
void gated_backward_as(const Gated& t) {
  const int64_t width = t.band ? t.grid : 1, line = width * t.size;
  for (int64_t row = t.first; row < t.last; ++row) {
    const float* low = t.band ? filtered_row(t, (const X*)t.x, row) : nullptr;
    const X* g = (const X*)t.x + row * line;
    const M* m = (const M*)t.m + row * line;
    M* dm = (M*)t.out + row * line;
    for (int64_t c = 0; c < width; ++c, g += t.size, m += t.size, dm += t.size) {
      over(t.size, [&](int64_t i, auto n) {
        vf whole = load(g + i, n), value = load(m + i, n), back = whole;
        store(t.sums + i, load(t.sums + i, n) + whole * value, n);
        if (low) {
          vf smooth = load(low + c * t.size + i, n);
          back = smooth * t.b + whole * t.a;
          store(t.sums + t.size + i, load(t.sums + t.size + i, n) + smooth * value, n);
        }
        store(dm + i, back * load(t.gate + i, n), n);
      });
    }
  }
}

void gated(const Gated& t) {
  if (t.x_storage == sp::F32 && t.m_storage == sp::F32) return gated_as<float, float>(t);
  if (t.x_storage == sp::F32) return gated_as<float, bf16>(t);
  if (t.m_storage == sp::F32) return gated_as<bf16, float>(t);
  gated_as<bf16, bf16>(t);
}
void gated_backward(const Gated& t) {
  if (t.x_storage == sp::F32 && t.m_storage == sp::F32) return gated_backward_as<float, float>(t);
  if (t.x_storage == sp::F32) return gated_backward_as<float, bf16>(t);
  if (t.m_storage == sp::F32) return gated_backward_as<bf16, float>(t);
  gated_backward_as<bf16, bf16>(t);
}

// ------------------------------------------------------------------ queries and keys
inline float mean_square(const float* x, int64_t size) {
  vf total{};
  over(size, [&](int64_t i, auto n) {
    vf v = load(x + i, n);
    total += v * v;
  });
  return sum(total) / float(size);
}

void qk_norm(const float* qkv, const float* q_weight, const float* k_weight, float* q, float* k, int64_t rows,
             int64_t heads, int64_t size, float eps) {
  const int64_t hidden = heads * size;
  for (int64_t row = 0; row < rows; ++row, qkv += 3 * hidden, q += hidden, k += hidden) {
    for (int64_t part = 0; part < 2 * heads; ++part) {
      const bool key = part >= heads;
      const float* x = qkv + part * size;
      float* y = key ? k + (part - heads) * size : q + part * size;
      const float* weight = key ? k_weight : q_weight;
      const float r = 1.0f / root(mean_square(x, size) + eps);
      over(size, [&](int64_t i, auto n) { store(y + i, load(x + i, n) * r * load(weight + i, n), n); });
    }
  }
}

void qk_norm_backward(const float* qkv, const float* q_weight, const float* k_weight, const float* dq, const float* dk,
                      const float* dv, float* dqkv, float* sums, int64_t rows, int64_t heads, int64_t size, float eps) {
  const int64_t hidden = heads * size;
  for (int64_t row = 0; row < rows; ++row, qkv += 3 * hidden, dqkv += 3 * hidden) {
    for (int64_t part = 0; part < 2 * heads; ++part) {
      const bool key = part >= heads;
      const float* x = qkv + part * size;
      const float* dy = (key ? dk - hidden : dq) + row * hidden + part * size;
      const float* weight = key ? k_weight : q_weight;
      float* to = sums + (key ? size : 0);
      const float r = 1.0f / root(mean_square(x, size) + eps);
      vf total{};
      over(size, [&](int64_t i, auto n) {
        vf normal = load(x + i, n) * r, d = load(dy + i, n) * normal;
        total += d * load(weight + i, n);
        store(to + i, load(to + i, n) + d, n);
      });
      const float along = sum(total) / float(size);
      over(size, [&](int64_t i, auto n) {
        vf normal = load(x + i, n) * r;
        store(dqkv + part * size + i, (load(dy + i, n) * load(weight + i, n) - normal * along) * r, n);
      });
    }
    memcpy(dqkv + 2 * hidden, dv + row * hidden, size_t(hidden) * sizeof(float));
  }
}

// ------------------------------------------------------------------ GELU
// 0.5 x (1 + tanh(u)) = x s(2u), with s the logistic function and u = sqrt(2 / pi) (x + 0.044715 x^3).
constexpr float TWICE = 1.5957691216f, CUBIC = 0.044715f;

inline vf logistic_of(vf x) {
  vf u = x * (x * x * CUBIC + 1.0f) * TWICE;
  return 1.0f / (exponential(-u) + 1.0f);
}

void gelu(const float* x, float* y, int64_t count) {
  over(count, [&](int64_t i, auto n) {
    vf v = load(x + i, n);
    store(y + i, v * logistic_of(v), n);
  });
}
void gelu_backward(const float* x, float* dy_dx, float* y, int64_t count) {
  over(count, [&](int64_t i, auto n) {
    vf v = load(x + i, n), s = logistic_of(v), whole = v * s;
    vf slope = (v * v * (3 * CUBIC) + 1.0f) * TWICE;
    store(dy_dx + i, load(dy_dx + i, n) * (s + whole * (1.0f - s) * slope), n);
    store(y + i, whole, n);
  });
}

}  // namespace

const sp::Kernels& sp::SP_JOIN(kernels_, SP_ISA)() {
  static constexpr Kernels all{SP_TEXT(SP_ISA), norm_modulate, norm_modulate_backward, gated, gated_backward,
                               qk_norm,         qk_norm_backward, gelu, gelu_backward, attention_scratch, attention, attention_backward};
  return all;
}
