// See kernels.h. build.rs compiles this file with SP_ISA set to base, avx2 and avx512.
#include "kernels.h"

#include <string.h>

#include "attention.h"
#include "filters.h"
#include "gate.h"
#include "linear.h"
#include "vectors.h"

#ifndef SP_ISA
#define SP_ISA base
#endif
#define SP_JOIN_(a, b) a##b
#define SP_JOIN(a, b) SP_JOIN_(a, b)
#define SP_TEXT_(a) #a
#define SP_TEXT(a) SP_TEXT_(a)

namespace {

using sp::Gated;
using sp::Storage;

// ------------------------------------------------------------------ layer norm and modulation
template <class T>
inline void modulate(const T* x, float center, float r, const float* shift, const float* scale, T* y, int64_t size) {
  over(size, [&](int64_t i, auto n) {
    vf normal = (load(x + i, n) - center) * r;
    store(y + i, normal * (load(scale + i, n) + 1.0f) + load(shift + i, n), n);
  });
}

template <class T>
void norm_modulate_as(bool centered, const T* x, const float* shift, const float* scale, T* y, float* mean, float* rstd,
                      int64_t rows, int64_t size, float eps) {
  for (int64_t row = 0; row < rows; ++row, x += size, y += size) {
    float center = 0;
    if (centered) {
      vf total{};
      over(size, [&](int64_t i, auto n) { total += load(x + i, n); });
      center = sum(total) / float(size);
    }
    vf squares{};
    over(size, [&](int64_t i, auto n) {
      vf d = only(load(x + i, n) - center, n);
      squares += d * d;
    });
    const float r = 1.0f / root(sum(squares) / float(size) + eps);
    modulate(x, center, r, shift, scale, y, size);
    mean[row] = center;
    rstd[row] = r;
  }
}

template <class T>
void modulate_again_as(const T* x, const float* shift, const float* scale, T* y, const float* mean, const float* rstd,
                       int64_t rows, int64_t size) {
  for (int64_t row = 0; row < rows; ++row, x += size, y += size)
    modulate(x, mean[row], rstd[row], shift, scale, y, size);
}

template <class T>
void norm_modulate_backward_as(bool centered, const T* dy, const T* x, const float* scale, const float* mean,
                               const float* rstd, T* dx, float* sums, int64_t rows, int64_t size) {
  for (int64_t row = 0; row < rows; ++row, x += size, dy += size, dx += size) {
    const float center = mean[row], r = rstd[row];
    vf plain{}, along{};
    over(size, [&](int64_t i, auto n) {
      vf d = load(dy + i, n), normal = only((load(x + i, n) - center) * r, n);
      vf g = d * (load(scale + i, n) + 1.0f), dn = d * normal;
      plain += g;
      along += g * normal;
      store(sums + i, load(sums + i, n) + d, n);
      store(sums + size + i, load(sums + size + i, n) + dn, n);
    });
    const float first = centered ? sum(plain) / float(size) : 0.0f, second = sum(along) / float(size);
    over(size, [&](int64_t i, auto n) {
      vf normal = (load(x + i, n) - center) * r;
      vf g = load(dy + i, n) * (load(scale + i, n) + 1.0f);
      store(dx + i, (g - first - normal * second) * r, n);
    });
  }
}

void norm_modulate(Storage storage, bool centered, const void* x, const float* shift, const float* scale, void* y,
                   float* mean, float* rstd, int64_t rows, int64_t size, float eps) {
  if (storage == sp::BF16)
    norm_modulate_as(centered, (const bf16*)x, shift, scale, (bf16*)y, mean, rstd, rows, size, eps);
  else
    norm_modulate_as(centered, (const float*)x, shift, scale, (float*)y, mean, rstd, rows, size, eps);
}
void modulate_again(Storage storage, const void* x, const float* shift, const float* scale, void* y, const float* mean,
                    const float* rstd, int64_t rows, int64_t size) {
  if (storage == sp::BF16)
    modulate_again_as((const bf16*)x, shift, scale, (bf16*)y, mean, rstd, rows, size);
  else
    modulate_again_as((const float*)x, shift, scale, (float*)y, mean, rstd, rows, size);
}
void norm_modulate_backward(Storage storage, bool centered, const void* dy, const void* x, const float* scale,
                            const float* mean, const float* rstd, void* dx, float* sums, int64_t rows, int64_t size) {
  if (storage == sp::BF16)
    norm_modulate_backward_as(centered, (const bf16*)dy, (const bf16*)x, scale, mean, rstd, (bf16*)dx, sums, rows,
                              size);
  else
    norm_modulate_backward_as(centered, (const float*)dy, (const float*)x, scale, mean, rstd, (float*)dx, sums, rows,
                              size);
}

// ------------------------------------------------------------------ gated residual
template <class X, class M>
void gated_as(const Gated& t) {
  const X* x = (const X*)t.x;
  const M* m = (const M*)t.m;
  X* out = (X*)t.out;
  for (int64_t n = 0; n < t.count; ++n, x += t.size, m += t.size, out += t.size)
    over(t.size, [&](int64_t i, auto lanes) {
      store(out + i, load(t.gate + i, lanes) * load(m + i, lanes) + load(x + i, lanes), lanes);
    });
}

template <class X, class M>
void gated_backward_as(const Gated& t) {
  const X* g = (const X*)t.x;
  const M* m = (const M*)t.m;
  M* dm = (M*)t.out;
  for (int64_t n = 0; n < t.count; ++n, g += t.size, m += t.size, dm += t.size)
    over(t.size, [&](int64_t i, auto lanes) {
      vf whole = load(g + i, lanes);
      store(t.sums + i, load(t.sums + i, lanes) + whole * load(m + i, lanes), lanes);
      store(dm + i, whole * load(t.gate + i, lanes), lanes);
    });
}

// Calls body(x, m) with a float or a bf16 for the storage of each.
template <class T, class F>
void as_stored(const T& t, F&& body) {
  if (t.x_storage == sp::F32 && t.m_storage == sp::F32) return body(float(), float());
  if (t.x_storage == sp::F32) return body(float(), bf16());
  if (t.m_storage == sp::F32) return body(bf16(), float());
  body(bf16(), bf16());
}
void gated(const Gated& t) {
  as_stored(t, [&](auto x, auto m) { gated_as<decltype(x), decltype(m)>(t); });
}
void gated_backward(const Gated& t) {
  as_stored(t, [&](auto x, auto m) { gated_backward_as<decltype(x), decltype(m)>(t); });
}
void corrected(const CorrectedTask& t) {
  as_stored(t, [&](auto x, auto m) { corrected_as<decltype(x), decltype(m)>(t); });
}
void corrected_backward(const CorrectedTask& t) {
  as_stored(t, [&](auto x, auto m) { corrected_backward_as<decltype(x), decltype(m)>(t); });
}

}  // namespace

const sp::Kernels& sp::SP_JOIN(kernels_, SP_ISA)() {
  static constexpr Kernels all{SP_TEXT(SP_ISA),
                               norm_modulate,
                               modulate_again,
                               norm_modulate_backward,
                               gated,
                               gated_backward,
                               corrected_scratch,
                               corrected,
                               corrected_backward,
                               panels_size,
                               C,
                               W,
                               pack,
                               gelu,
                               gelu_backward,
                               linear_scratch,
                               linear,
                               linear_backward,
                               mlp_scratch,
                               mlp,
                               mlp_backward,
                               gate,
                               gate_backward,
                               silu,
                               silu_backward,
                               bound,
                               bound_backward,
                               attention_scratch,
                               attention,
                               attention_backward};
  return all;
}
