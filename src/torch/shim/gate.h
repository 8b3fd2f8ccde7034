// The part of a gate after its first linear map: SiLU, a map to a few numbers, tanh, a scale. Part of kernels.cpp.
#pragma once
#include "kernels.h"
#include "vectors.h"

namespace {

using sp::Gate;

inline SP_INSIDE vf logistic(vf x) { return 1.0f / (power_of_two(x * -LOG2_E) + 1.0f); }

// tanh within 2e-7, exactly 0 at 0.
inline SP_INSIDE vf bounded_by_one(vf x) { return 1.0f - 2.0f / (power_of_two(x * (2.0f * LOG2_E)) + 1.0f); }

void gate(const Gate& t) {
  const float* h = t.h;
  for (int64_t n = 0; n < t.count; ++n, h += t.inner) {
    vf total[sp::FEW_OUTPUTS] = {};
    over(t.inner, [&](int64_t i, auto lanes) SP_INSIDE {
      const vf x = load(h + i, lanes), a = x * logistic(x);
      for (int64_t k = 0; k < t.outputs; ++k) total[k] += a * load(t.weight + k * t.inner + i, lanes);
    });
    for (int64_t k = 0; k < t.outputs; ++k) {
      const float bounded = __builtin_tanhf(sum(total[k]) + t.bias[k]);
      t.bounded[t.outputs * n + k] = bounded;
      t.y[t.outputs * n + k] = t.scale * bounded;
    }
  }
}

void gate_backward(const Gate& t) {
  const float* h = t.h;
  float* dh = t.dh;
  for (int64_t n = 0; n < t.count; ++n, h += t.inner, dh += t.inner) {
    float slope[sp::FEW_OUTPUTS];
    for (int64_t k = 0; k < t.outputs; ++k) {
      const float bounded = t.bounded[t.outputs * n + k];
      slope[k] = t.dy[t.outputs * n + k] * t.scale * (1.0f - bounded * bounded);
      t.dbias[k] += slope[k];
    }
    over(t.inner, [&](int64_t i, auto lanes) SP_INSIDE {
      const vf x = load(h + i, lanes), s = logistic(x), a = x * s;
      vf da{};
      for (int64_t k = 0; k < t.outputs; ++k) {
        float* sums = t.dweight + k * t.inner + i;
        store(sums, load(sums, lanes) + a * slope[k], lanes);
        da += load(t.weight + k * t.inner + i, lanes) * slope[k];
      }
      store(dh + i, da * (s + a * (1.0f - s)), lanes);
    });
  }
}

void silu(const float* h, float* a, int64_t count) {
  over(count, [&](int64_t i, auto lanes) SP_INSIDE {
    const vf x = load(h + i, lanes);
    store(a + i, x * logistic(x), lanes);
  });
}
void silu_backward(const float* h, float* da_dh, int64_t count) {
  over(count, [&](int64_t i, auto lanes) SP_INSIDE {
    const vf x = load(h + i, lanes), s = logistic(x);
    store(da_dh + i, load(da_dh + i, lanes) * (s + x * s * (1.0f - s)), lanes);
  });
}
void bound(float* y, float* bounded, float scale, int64_t count) {
  over(count, [&](int64_t i, auto lanes) SP_INSIDE {
    const vf b = bounded_by_one(load(y + i, lanes));
    store(bounded + i, b, lanes);
    store(y + i, b * scale, lanes);
  });
}
void bound_backward(const float* bounded, const float* dy, float scale, float* du, int64_t count) {
  over(count, [&](int64_t i, auto lanes) SP_INSIDE {
    const vf b = load(bounded + i, lanes);
    store(du + i, load(dy + i, lanes) * scale * (1.0f - b * b), lanes);
  });
}

}  // namespace
