// Attention of one head of one image with its normalized and rotated queries and keys: softmax(Q K^T / sqrt(d)) V,
// and its gradients.
//
// Keys are processed up to KEYS at a time, so that they and their values stay in the L2 cache for all queries, and
// queries QUERIES at a time, whose scores stay there too. The softmax is updated online from one block of keys to
// the next (Milakov and Gimelshein, 2018). Scores use base 2. Part of kernels.cpp.
#pragma once
#include "kernels.h"
#include "products.h"

namespace {

using sp::Attention;

constexpr int64_t KEYS = 512, QUERIES = 48;

// ------------------------------------------------------------------ RMSNorm of queries and keys
inline float reciprocal_root_mean_square(const float* x, int64_t size, float eps) {
  vf total{};
  over(size, [&](int64_t i, auto n) {
    const vf v = load(x + i, n);
    total += v * v;
  });
  return 1.0f / root(sum(total) / float(size) + eps);
}
// Writes norm(x) weight of `rows` rows, or x itself without a weight, to scratch memory, zero-padded to whole
// vectors.
inline void normalize(const float* x, int64_t stride, int64_t rows, int64_t size, const float* weight, float eps,
                      float* to, int64_t line) {
  if (!weight) return copy_rows(x, stride, rows, size, to, line);
  for (int64_t n = 0; n < rows; ++n, x += stride, to += line) {
    ask_for(x + AHEAD * stride, size);
    const float r = reciprocal_root_mean_square(x, size, eps);
    over(size, [&](int64_t i, auto lanes) { store(to + i, load(x + i, lanes) * r * load(weight + i, lanes), Full{}); });
  }
}
// Computes the gradient of x from `factor` times that of the output, with rows `line` apart; adds to the weight's
// `sums`.
inline void normalize_backward(const float* x, int64_t stride, int64_t rows, int64_t size, const float* weight,
                               float eps, const float* dy, int64_t line, float factor, float* dx, float* sums) {
  for (int64_t n = 0; n < rows; ++n, x += stride, dx += stride, dy += line) {
    ask_for(x + AHEAD * stride, size);
    ask_for(dx + AHEAD * stride, size);
    if (!weight) {
      over(size, [&](int64_t i, auto lanes) { store(dx + i, load(dy + i, lanes) * factor, lanes); });
      continue;
    }
    const float r = reciprocal_root_mean_square(x, size, eps);
    vf total{};
    over(size, [&](int64_t i, auto lanes) {
      const vf d = load(dy + i, lanes) * load(x + i, lanes) * (r * factor);
      total += d * load(weight + i, lanes);
      store(sums + i, load(sums + i, lanes) + d, lanes);
    });
    const float along = sum(total) / float(size);
    over(size, [&](int64_t i, auto lanes) {
      const vf normal = load(x + i, lanes) * r;
      store(dx + i, (load(dy + i, lanes) * load(weight + i, lanes) * factor - normal * along) * r, lanes);
    });
  }
}

// ------------------------------------------------------------------ rotary positions
// Rotates channels 2i and 2i + 1 of `rows` rows in place by the angles of the tables [rows, size], or back. Both
// channels of a pair have the same angle.
inline void rotate(float* x, int64_t line, int64_t rows, int64_t size, const float* cos, const float* sin, bool back) {
  for (int64_t n = 0; n < rows; ++n, x += line, cos += size, sin += size)
    over(size, [&](int64_t i, auto lanes) {
      const vf v = load(x + i, Full{}), s = load(sin + i, lanes);
      store(x + i, v * load(cos + i, lanes) + exchange_pairs(v) * (back ? negate_odd(s) : negate_even(s)), Full{});
    });
}
// Writes normalized and rotated queries or keys to scratch memory; the first row is that of token `first`.
inline void prepare(const Attention& t, const float* x, int64_t first, int64_t rows, const float* weight, float* to,
                    int64_t line) {
  normalize(x, 3 * t.hidden, rows, t.size, weight, t.eps, to, line);
  if (t.cos) rotate(to, line, rows, t.size, t.cos + first * t.size, t.sin + first * t.size, false);
}
// Computes the gradient of what `prepare` reads from `factor` times that of what it writes, which is overwritten.
inline void prepare_backward(const Attention& t, const float* x, int64_t first, int64_t rows, const float* weight,
                             float* dy, int64_t line, float factor, float* dx, float* sums) {
  if (t.cos) rotate(dy, line, rows, t.size, t.cos + first * t.size, t.sin + first * t.size, true);
  normalize_backward(x, 3 * t.hidden, rows, t.size, weight, t.eps, dy, line, factor, dx, sums);
}

// ------------------------------------------------------------------ scratch memory
inline int64_t run_of(int64_t count) { return count < KEYS ? count : KEYS; }

// Layout of a task's scratch memory.
struct Room {
  int64_t line, scores;  // between rows of tokens, and of scores
  float *queries, *grads, *keys, *values, *key_panels, *value_panels, *weights, *slopes;
  float *totals, *means, *dq, *dk, *dv, *end;

  Room(float* at, int64_t count, int64_t size, bool backward) : line(line_of(size)), scores(line_of(run_of(count))) {
    const int64_t keys_wide = run_of(count);
    auto take = [&](int64_t numbers) {
      float* here = at;
      at += whole(numbers, 16);
      return here;
    };
    queries = take(QUERIES * line);
    keys = take(keys_wide * line);
    key_panels = take(panels_size(size, keys_wide));
    weights = take(QUERIES * scores);
    values = totals = grads = value_panels = slopes = means = dq = dk = dv = nullptr;
    if (!backward) {
      values = take(keys_wide * line);
      totals = take(count);
    } else {
      grads = take(QUERIES * line);
      value_panels = take(panels_size(size, keys_wide));
      slopes = take(QUERIES * scores);
      means = take(count);
      dq = take(count * line);
      dk = take(keys_wide * line);
      dv = take(keys_wide * line);
    }
    end = at;
  }
};
int64_t attention_scratch(int64_t count, int64_t size, bool backward) {
  float begin = 0;
  return Room(&begin, count, size, backward).end - &begin;
}

inline void turn_panels(const float* from, int64_t line, int64_t count, int64_t depth, float factor, float* to) {
  for (int64_t n = 0; n < count; n += C, to += depth * C)
    turn_panel(from + n * line, line, count - n, depth, factor, to);
}

// ------------------------------------------------------------------ forward
inline float power_of_two(float x) { return __builtin_exp2f(x); }

void attention(const Attention& t) {
  const Room room(t.scratch, t.count, t.size, false);
  const int64_t size = t.size, stride = 3 * t.hidden, line = room.line;
  const float *k = t.qkv + t.hidden, *v = k + t.hidden;
  for (int64_t k0 = 0; k0 < t.count; k0 += KEYS) {
    const int64_t keys = run_of(t.count - k0);
    prepare(t, k + k0 * stride, k0, keys, t.k_weight, room.keys, line);
    turn_panels(room.keys, line, keys, size, LOG2_E / root(float(size)), room.key_panels);
    copy_rows(v + k0 * stride, stride, keys, size, room.values, line);
    const bool first = k0 == 0, last = k0 + keys == t.count;
    for (int64_t q0 = 0; q0 < t.count; q0 += QUERIES) {
      const int64_t rows = t.count - q0 < QUERIES ? t.count - q0 : QUERIES;
      prepare(t, t.qkv + q0 * stride, q0, rows, t.q_weight, room.queries, line);
      multiply(room.queries, line, rows, panels_of(room.key_panels, size), size, keys,
               [&](int64_t r, int64_t c, auto, vf score) { store(room.weights + r * room.scores + c, score, Full{}); });
      float kept[QUERIES], part[QUERIES];
      for (int64_t r = 0; r < rows; ++r) {
        float *row = room.weights + r * room.scores, *most = t.log_sums + q0 + r, *all = room.totals + q0 + r;
        vf largest = splat(first ? -3e38f : *most);
        over(keys, [&](int64_t i, auto n) {
          const vf x = load(row + i, Full{}), there = int(n) < W ? (lanes() < int(n) ? x : largest) : x;
          largest = there > largest ? there : largest;
        });
        const float now = most_of(largest);
        vf total{};
        over(keys, [&](int64_t i, auto n) {
          const vf p = only(power_of_two(load(row + i, Full{}) - now), n);
          total += p;
          store(row + i, p, Full{});
        });
        kept[r] = first ? 0.0f : power_of_two(*most - now);
        *all = (first ? 0.0f : *all * kept[r]) + sum(total);
        part[r] = last ? 1.0f / *all : 1.0f;
        *most = last ? now + __builtin_log2f(*all) : now;
      }
      multiply(room.weights, room.scores, rows, rows_of(room.values, line), keys, size,
               [&](int64_t r, int64_t c, auto n, vf value) SP_INSIDE {
                 float* out = t.out + (q0 + r) * t.hidden + c;
                 if (!first) value += load(out, n) * kept[r];
                 store(out, value * part[r], n);
               });
    }
  }
}

// ------------------------------------------------------------------ backward
void attention_backward(const Attention& t) {
  const Room room(t.scratch, t.count, t.size, true);
  const int64_t size = t.size, stride = 3 * t.hidden, line = room.line;
  const float *k = t.qkv + t.hidden, *v = k + t.hidden, factor = 1.0f / root(float(size));
  memset(room.dq, 0, size_t(t.count * line) * sizeof(float));
  for (int64_t n = 0; n < t.count; ++n) {
    ask_for(t.grad + (n + AHEAD) * t.hidden, size);
    ask_for(t.out + (n + AHEAD) * t.hidden, size);
    vf total{};
    over(size, [&](int64_t i, auto lanes) {
      total += load(t.grad + n * t.hidden + i, lanes) * load(t.out + n * t.hidden + i, lanes);
    });
    room.means[n] = sum(total);
  }
  for (int64_t k0 = 0; k0 < t.count; k0 += KEYS) {
    const int64_t keys = run_of(t.count - k0);
    prepare(t, k + k0 * stride, k0, keys, t.k_weight, room.keys, line);
    turn_panels(room.keys, line, keys, size, LOG2_E * factor, room.key_panels);
    turn_panels(v + k0 * stride, stride, keys, size, 1.0f, room.value_panels);
    for (int64_t q0 = 0; q0 < t.count; q0 += QUERIES) {
      const int64_t rows = t.count - q0 < QUERIES ? t.count - q0 : QUERIES;
      prepare(t, t.qkv + q0 * stride, q0, rows, t.q_weight, room.queries, line);
      copy_rows(t.grad + q0 * t.hidden, t.hidden, rows, size, room.grads, line);
      multiply(room.queries, line, rows, panels_of(room.key_panels, size), size, keys,
               [&](int64_t r, int64_t c, auto, vf score) { store(room.weights + r * room.scores + c, score, Full{}); });
      for (int64_t r = 0; r < rows; ++r) {
        const vf log_sum = splat(t.log_sums[q0 + r]);
        over(keys, [&](int64_t i, auto n) {
          float* to = room.weights + r * room.scores + i;
          store(to, only(power_of_two(load(to, Full{}) - log_sum), n), Full{});
        });
      }
      multiply(room.grads, line, rows, panels_of(room.value_panels, size), size, keys,
               [&](int64_t r, int64_t c, auto, vf slope) SP_INSIDE {
                 const vf p = load(room.weights + r * room.scores + c, Full{});
                 store(room.slopes + r * room.scores + c, p * (slope - room.means[q0 + r]), Full{});
               });
      accumulate(room.weights, room.scores, keys, room.grads, line, size, rows, room.dv, line, !q0);
      accumulate(room.slopes, room.scores, keys, room.queries, line, size, rows, room.dk, line, !q0);
      multiply(room.slopes, room.scores, rows, rows_of(room.keys, line), keys, size,
               [&](int64_t r, int64_t c, auto, vf value) {
                 float* to = room.dq + (q0 + r) * line + c;
                 store(to, load(to, Full{}) + value, Full{});
               });
    }
    float* to = t.dqkv + t.hidden + k0 * stride;
    prepare_backward(t, k + k0 * stride, k0, keys, t.k_weight, room.dk, line, factor, to, t.sums + size);
    for (int64_t n = 0; n < keys; ++n)
      over(size, [&](int64_t i, auto lanes) {
        store(to + t.hidden + n * stride + i, load(room.dv + n * line + i, lanes), lanes);
      });
  }
  prepare_backward(t, t.qkv, 0, t.count, t.q_weight, room.dq, line, factor, t.dqkv, t.sums);
}

}  // namespace
