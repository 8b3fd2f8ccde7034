// What follows the first linear map of a gate: SiLU, a map to two numbers, tanh, a scale. Part of kernels.cpp.
#pragma once
#include "kernels.h"
#include "vectors.h"

namespace {

using sp::Gate;

inline SP_INSIDE vf logistic(vf x) { return 1.0f / (power_of_two(x * -LOG2_E) + 1.0f); }

void gate(const Gate& t) {
  const float* h = t.h;
  for (int64_t n = 0; n < t.count; ++n, h += t.inner) {
    vf total[2] = {};
    over(t.inner, [&](int64_t i, auto lanes) SP_INSIDE {
      const vf x = load(h + i, lanes), a = x * logistic(x);
      for (int k = 0; k < 2; ++k) total[k] += a * load(t.weight + k * t.inner + i, lanes);
    });
    for (int k = 0; k < 2; ++k) {
      const float bounded = __builtin_tanhf(sum(total[k]) + t.bias[k]);
      t.bounded[2 * n + k] = bounded;
      t.y[2 * n + k] = t.scale * bounded;
    }
  }
}

void gate_backward(const Gate& t) {
  const float* h = t.h;
  float* dh = t.dh;
  for (int64_t n = 0; n < t.count; ++n, h += t.inner, dh += t.inner) {
    float slope[2];
    for (int k = 0; k < 2; ++k) {
      const float bounded = t.bounded[2 * n + k];
      slope[k] = t.dy[2 * n + k] * t.scale * (1.0f - bounded * bounded);
      t.dbias[k] += slope[k];
    }
    over(t.inner, [&](int64_t i, auto lanes) SP_INSIDE {
      const vf x = load(h + i, lanes), s = logistic(x), a = x * s;
      vf da{};
      for (int k = 0; k < 2; ++k) {
        float* sums = t.dweight + k * t.inner + i;
        store(sums, load(sums, lanes) + a * slope[k], lanes);
        da += load(t.weight + k * t.inner + i, lanes) * slope[k];
      }
      store(dh + i, da * (s + a * (1.0f - s)), lanes);
    });
  }
}

}  // namespace
