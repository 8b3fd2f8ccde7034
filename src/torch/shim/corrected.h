// Corrections by linear filters on the CPU: matrices in the layout of the operators of filters.h, and one pass over
// the tokens.
#pragma once
#include <ATen/Functions.h>

#include <array>
#include <deque>
#include <vector>

#include "fused.h"
#include "tasks.h"

namespace sp {

using at::TensorList;

// ------------------------------------------------------------------ matrices in the layout of the CPU operators
// The run of entries of each row from its first nonzero to its last.
struct Runs {
  std::vector<int32_t> start, length;

  Runs(const float* values, int64_t rows, int64_t columns) {
    for (int64_t i = 0; i < rows; ++i, values += columns) {
      int64_t first = 0, last = columns;
      while (last > first && values[last - 1] == 0) --last;
      while (first < last && values[first] == 0) ++first;
      start.push_back(int32_t(first));
      length.push_back(int32_t(last - first));
    }
  }
};

struct Packed {
  std::vector<Strip> strips;
  std::vector<float> weights;

  // Rows share a strip, whose columns are read once for all of them, unless that would add many zeros.
  Packed(const float* values, int64_t rows, int64_t columns) {
    const Runs runs(values, rows, columns);
    int32_t entries = 0;
    for (int32_t i = 0; i < rows; ++i) {
      const int32_t first = runs.start[i], length = runs.length[i];
      if (!strips.empty()) {
        Strip& open = strips.back();
        const int32_t start = std::min(first, open.start);
        const int32_t wide = std::max(first + length, open.start + open.length) - start;
        if (open.rows < STRIP && 4 * wide * (open.rows + 1) <= 5 * (entries + length)) {
          open.start = start;
          open.length = wide;
          ++open.rows;
          entries += length;
          continue;
        }
      }
      strips.push_back({i, 1, first, length, nullptr});
      entries = length;
    }
    size_t total = 0;
    for (const Strip& s : strips) total += size_t(s.length) * STRIP;
    weights.resize(total);
    float* to = weights.data();
    for (Strip& s : strips) {
      s.weights = to;
      for (int32_t j = s.start; j < s.start + s.length; ++j, to += STRIP)
        for (int32_t r = 0; r < s.rows; ++r) to[r] = values[(s.row + r) * columns + j];
    }
  }
  Strips view() const { return {strips.data(), int64_t(strips.size())}; }
};

inline Packed packed(const Tensor& matrix, bool turned) {
  const Tensor dense = (turned ? matrix.t() : matrix).contiguous();
  return Packed(dense.const_data_ptr<float>(), dense.size(0), dense.size(1));
}

// Returns Q [K, G] as float32.
inline Tensor flat(const Tensor& matrix) {
  return matrix.detach().to(at::kFloat).reshape({matrix.size(-2), matrix.size(-1)}).contiguous();
}

// Returns Q for the sums and differences of opposite tokens, or nothing unless even rows come first and all others
// are odd.
inline Tensor folded(const Tensor& basis) {
  const int64_t kept = basis.size(0), grid = basis.size(1), half = grid / 2, even = grid - half;
  Tensor result = at::zeros_like(basis);
  const float* from = basis.const_data_ptr<float>();
  float* to = result.data_ptr<float>();
  bool odd = false;
  for (int64_t k = 0; k < kept; ++k, from += grid, to += grid) {
    const auto reflects = [&](float sign) {
      for (int64_t j = 0; j < even; ++j)
        if (std::abs(from[j] - sign * from[grid - 1 - j]) > 1e-6f) return false;
      return true;
    };
    odd = odd || !reflects(1);
    if (odd && !reflects(-1)) return Tensor();
    std::copy_n(from, odd ? half : even, odd ? to + even : to);
  }
  return result;
}

// ------------------------------------------------------------------ one pass, forward or backward
struct Pass {
  Vectors gates;
  Tensor factors;  // [B, 1 + filters, 1 or D], whole and then the parts
  // Tasks point into these, so they must not move.
  std::deque<Packed> matrices;
  std::deque<Runs> runs;
  std::vector<Tensor> gains;
  bool trained = false;
  std::vector<Filter> filters;
  int64_t batch, tokens, size, grid, slabs;

  // Tokens of one image, or null for zeros.
  struct View {
    const void* data;
    Storage storage;

    const void* from(int64_t number) const {
      return data ? static_cast<const char*>(data) + number * int64_t(storage == F32 ? sizeof(float) : 2) : nullptr;
    }
  };
  static View view(const Tensor& t, int64_t image) {
    return {static_cast<const char*>(t.const_data_ptr()) + image * t.stride(0) * t.element_size(), storage(t)};
  }

  // For tokens of the shape of `m`; the gate is undefined for 1.
  Pass(const Tensor& m, const Tensor& gate, const std::vector<Correction>& corrections, bool backward)
      : gates(gate), factors(factors_of(corrections, m)), batch(m.size(0)), tokens(m.size(1)), size(m.size(2)) {
    grid = corrections[0].filters[0].matrix.size(-1);
    slabs = (size + CHANNELS_PER_TASK - 1) / CHANNELS_PER_TASK;
    for (const Correction& c : corrections)
      for (const GridFilter& filter : c.filters) add(filter, backward);
  }

  static Tensor factors_of(const std::vector<Correction>& corrections, const Tensor& m) {
    int64_t count = 1, width = 1;
    for (const Correction& c : corrections) {
      count += int64_t(c.filters.size());
      if (c.coefficients.dim() == 3) width = m.size(2);
    }
    const int64_t batch = m.size(0);
    Tensor factors = at::empty({batch, count, width}, m.options().dtype(at::kFloat));
    auto* all = factors.data_ptr<float>();
    for (int64_t image = 0; image < batch; ++image) std::fill_n(all + image * count * width, width, 1.0f);
    int64_t next = 1;
    for (const Correction& c : corrections) {
      const Tensor given = c.coefficients.detach().to(at::kFloat).contiguous();
      const int64_t bands = given.size(1), own = given.dim() == 3 ? width : 1;
      const float* g = given.const_data_ptr<float>();
      for (int64_t image = 0; image < batch; ++image, g += bands * own) {
        float *whole = all + image * count * width, *parts = whole + next * width;
        for (int64_t i = 0; i < width; ++i) whole[i] += g[(bands - 1) * own + (own > 1 ? i : 0)];
        for (int64_t band = 0; band + 1 < bands; ++band, parts += width)
          for (int64_t i = 0; i < width; ++i) {
            const float* from = g + band * own + (own > 1 ? i : 0);
            parts[i] = from[0] - from[own];
          }
      }
      next += bands - 1;
    }
    return factors;
  }

  void add(const GridFilter& c, bool backward) {
    Filter filter{};
    const Tensor matrix = flat(c.matrix);
    if (c.gains.defined()) {
      const Tensor half = folded(matrix);
      matrices.push_back(packed(half, false));
      filter.forth = matrices.back().view();
      matrices.push_back(packed(half, true));
      filter.back = matrices.back().view();
      gains.push_back(c.gains.detach().to(at::kFloat).contiguous());
      filter.gains = gains.back().const_data_ptr<float>();
      filter.kept = matrix.size(0);
    } else {
      matrices.push_back(packed(matrix, backward));
      filter.forth = matrices.back().view();
      if (backward && c.matrix.requires_grad()) {
        trained = true;
        runs.emplace_back(matrix.const_data_ptr<float>(), matrix.size(0), matrix.size(1));
        filter.start = runs.back().start.data();
        filter.length = runs.back().length.data();
      }
    }
    filters.push_back(filter);
  }

  int64_t space() const { return kernels().corrected_scratch(grid, int64_t(filters.size())); }

  // Tokens that are needed soon, or null.
  using Upcoming = std::array<View, MOST_SOON>;

  // Runs a CPU operator on some channels of an image. x is the gradient in a backward pass, which adds to `sums`
  // and writes `gradients`; both cover all images.
  template <class Kernel>
  void slab(Kernel kernel, int64_t image, int64_t index, View x, View m, View out, const Upcoming& soon, float* space,
            float* sums, float* gradients) const {
    const int64_t first = index * CHANNELS_PER_TASK, step = factors.size(2);
    const auto count = int64_t(filters.size());
    CorrectedTask t{};
    t.x_storage = x.storage;
    t.m_storage = m.storage;
    t.x = x.from(first);
    t.m = m.from(first);
    t.out = const_cast<void*>(out.from(first));
    for (size_t i = 0; i < soon.size(); ++i) t.soon[i] = {soon[i].from(first), soon[i].storage};
    t.gate = gates.rows.defined() ? gates.of(image) + first : nullptr;
    t.filters = filters.data();
    t.count = count;
    t.channels = step > 1;
    t.factor_step = step;
    t.factors = factors.const_data_ptr<float>() + image * (1 + count) * step + (t.channels ? first : 0);
    t.grid = grid;
    t.size = std::min(CHANNELS_PER_TASK, size - first);
    t.stride = size;
    t.scratch = space;
    t.sums = sums ? sums + image * (1 + count) * size + first : nullptr;
    t.matrices = gradients ? gradients + (image * slabs + index) * count * tokens : nullptr;
    kernel(t);
  }
};

// Returns the sum of arrays [count, ..], added one after another.
inline Tensor in_order(const Tensor& arrays) {
  Tensor total = arrays[0].clone();
  const int64_t size = total.numel();
  auto* to = total.data_ptr<float>();
  auto* from = arrays.const_data_ptr<float>();
  for (int64_t i = 1; i < arrays.size(0); ++i)
    for (int64_t j = 0; j < size; ++j) to[j] += from[i * size + j];
  return total;
}

// Builds corrections from lists of tensors; each has one filter fewer than coefficients.
inline std::vector<Correction> joined(TensorList coefficients, TensorList matrices, TensorList gains) {
  std::vector<Correction> all;
  size_t next = 0;
  for (const Tensor& c : coefficients) {
    all.push_back({c, {}});
    for (int64_t band = 1; band < c.size(1); ++band, ++next)
      all.back().filters.push_back({matrices[next], gains[next]});
  }
  return all;
}

// Returns the gradient of a correction's coefficients from that of all factors [B, 1 + filters, D], where those of
// its filters begin at `first`.
inline Tensor coefficient_gradient(const Tensor& dfactors, const Correction& c, int64_t first) {
  const auto count = int64_t(c.filters.size());
  const bool channels = c.coefficients.dim() == 3;
  const Tensor given = channels ? dfactors : dfactors.sum(2, true);
  Tensor found = at::cat({given.narrow(1, first, count), given.narrow(1, 0, 1)}, 1);
  found.narrow(1, 1, count) -= given.narrow(1, first, count);
  return (channels ? found : found.squeeze(2)).to(c.coefficients.scalar_type());
}

// Sums of a backward pass, from which the gradients of coefficients and matrices follow.
struct Totals {
  Tensor sums;      // [B, 1 + filters, D], the gradient times m, then the filtered gradients times m
  Tensor matrices;  // [B * slabs, filters, G, G], or undefined unless a matrix is trained

  explicit Totals(const Pass& pass)
      : sums(at::zeros({pass.batch, int64_t(1 + pass.filters.size()), pass.size}, pass.factors.options())) {
    if (pass.trained)
      matrices = at::zeros({pass.batch * pass.slabs, int64_t(pass.filters.size()), pass.grid, pass.grid},
                           pass.factors.options());
  }
  float* of_sums() const { return sums.data_ptr<float>(); }
  float* of_matrices() const { return matrices.defined() ? matrices.data_ptr<float>() : nullptr; }

  // Writes the gradients of the coefficients, then those of the matrices, given that of all factors.
  void write(const Tensor& dfactors, const std::vector<Correction>& corrections, Tensor* to) const {
    const Tensor all = matrices.defined() ? in_order(matrices) : Tensor();
    int64_t next = 0;
    for (size_t c = 0; c < corrections.size(); ++c) {
      to[c] = coefficient_gradient(dfactors, corrections[c], 1 + next);
      for (const GridFilter& filter : corrections[c].filters) {
        if (filter.matrix.requires_grad())
          to[int64_t(corrections.size()) + next] =
              all[next].reshape(filter.matrix.sizes()).to(filter.matrix.scalar_type());
        ++next;
      }
    }
  }
};

// Whether the CPU operators support a filter of a grid of `tokens` tokens.
inline bool fits(const GridFilter& c, int64_t tokens) {
  const Tensor& m = c.matrix;
  if (!m.is_cpu() || !stored(m) || m.dim() != 3 || m.size(0) != 1 || m.size(2) * m.size(2) != tokens) return false;
  if (!c.gains.defined()) return m.size(1) == m.size(2);
  return c.gains.is_cpu() && stored(c.gains) && c.gains.numel() == m.size(1) * m.size(1) && !m.requires_grad() &&
         !c.gains.requires_grad() && folded(flat(m)).defined();
}

// Whether they support the coefficients: one number per band, or one per band and channel.
inline bool fits(const Tensor& k, const Tensor& m) {
  return k.is_cpu() && stored(k) && k.size(0) == m.size(0) &&
         (k.dim() == 2 || (k.dim() == 3 && k.size(2) == m.size(2)));
}

// Lists of the tensors of corrections, as autograd needs them.
struct Listed {
  std::vector<Tensor> coefficients, matrices, gains;
  bool fits = true;  // whether the CPU operators support all of them for tokens m

  Listed(const Tensor& m, const std::vector<Correction>& corrections) {
    for (const Correction& c : corrections) {
      fits = fits && sp::fits(c.coefficients, m);
      coefficients.push_back(c.coefficients);
      for (const GridFilter& filter : c.filters) {
        fits = fits && sp::fits(filter, m.size(1));
        matrices.push_back(filter.matrix);
        gains.push_back(filter.gains);
      }
    }
    fits = fits && !matrices.empty() && int64_t(matrices.size()) <= MOST_FILTERS;
  }
};

}  // namespace sp
