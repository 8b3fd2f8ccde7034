// The gated residual with corrections by linear filters: connects libtorch to the CPU operators of filters.h.
//
// The gate is constant over the tokens, so it commutes with the filter: F(gate m) = gate F(m). All corrections
// together are x + gate (whole m + sum of part_k F_k(m)), where whole = 1 + the sum of the last coefficients, and
// each filter's part is its coefficient minus the next one. In the backward pass the filtered gradient gives the
// gradients of m, gate and coefficients alike, since the sum of G F(m) equals that of F^T(G) m. All sums are added
// in an order that depends only on the shape.
#include <ATen/record_function.h>

#include <deque>
#include <utility>
#include <vector>

#include "device.h"
#include "fused.h"
#include "reference.h"
#include "tasks.h"

using at::Tensor;
using at::TensorList;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;
using namespace sp;

namespace {

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

Packed packed(const Tensor& matrix, bool turned) {
  const Tensor dense = (turned ? matrix.t() : matrix).contiguous();
  return Packed(dense.const_data_ptr<float>(), dense.size(0), dense.size(1));
}

// Returns Q [K, G] as float32.
Tensor flat(const Tensor& matrix) {
  return matrix.detach().to(at::kFloat).reshape({matrix.size(-2), matrix.size(-1)}).contiguous();
}

// Returns Q for the sums and differences of opposite tokens, or nothing unless even rows come first and all others
// are odd.
Tensor folded(const Tensor& basis) {
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
  Tensor x, m;  // x is the gradient in a backward pass
  Vectors gates;
  Tensor factors;  // [B, 1 + filters, 1 or D], whole and then the parts
  // Tasks point into these, so they must not move.
  std::deque<Packed> matrices;
  std::deque<Runs> runs;
  std::vector<Tensor> gains;
  bool trained = false;
  std::vector<Filter> filters;
  int64_t batch, tokens, size, grid, slabs;

  Pass(const Tensor& x_given, const Tensor& m_given, const Tensor& gate, const std::vector<Correction>& corrections,
       bool backward)
      : x(x_given.defined() ? x_given.contiguous() : Tensor()),
        m(m_given.contiguous()),
        gates(gate),
        factors(factors_of(corrections, m)),
        batch(m.size(0)),
        tokens(m.size(1)),
        size(m.size(2)) {
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

  template <class Kernel>
  void run(Kernel kernel, const Tensor& out, float* sums, float* gradients) {
    const auto* xs = x.defined() ? static_cast<const char*>(x.const_data_ptr()) : nullptr;
    const auto* ms = static_cast<const char*>(m.const_data_ptr());
    auto* outs = static_cast<char*>(out.data_ptr());
    const auto* all = factors.const_data_ptr<float>();
    const int64_t step = factors.size(2);
    const auto count = int64_t(filters.size());
    const int64_t needed = kernels().corrected_scratch(grid, count);
    share(batch * slabs, [&](int64_t task) {
      const int64_t image = task / slabs, first = task % slabs * CHANNELS_PER_TASK, at = image * tokens * size + first;
      CorrectedTask t{};
      t.x_storage = storage(x.defined() ? x : m);
      t.m_storage = storage(m);
      t.x = xs ? xs + at * x.element_size() : nullptr;
      t.m = ms + at * m.element_size();
      t.out = outs + at * out.element_size();
      t.gate = gates.rows.defined() ? gates.of(image) + first : nullptr;
      t.filters = filters.data();
      t.count = count;
      t.channels = step > 1;
      t.factor_step = step;
      t.factors = all + image * (1 + count) * step + (t.channels ? first : 0);
      t.grid = grid;
      t.size = std::min(CHANNELS_PER_TASK, size - first);
      t.stride = size;
      t.scratch = scratch(needed);
      t.sums = sums ? sums + image * (1 + count) * size + first : nullptr;
      t.matrices = gradients ? gradients + task * count * tokens : nullptr;
      kernel(t);
    });
  }
};

// Returns the sum of arrays [count, ..], added one after another.
Tensor in_order(const Tensor& arrays) {
  Tensor total = arrays[0].clone();
  const int64_t size = total.numel();
  auto* to = total.data_ptr<float>();
  auto* from = arrays.const_data_ptr<float>();
  for (int64_t i = 1; i < arrays.size(0); ++i)
    for (int64_t j = 0; j < size; ++j) to[j] += from[i * size + j];
  return total;
}

// Builds corrections from lists of tensors; each has one filter fewer than coefficients.
std::vector<Correction> joined(TensorList coefficients, TensorList matrices, TensorList gains) {
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
Tensor coefficient_gradient(const Tensor& dfactors, const Correction& c, int64_t first) {
  const auto count = int64_t(c.filters.size());
  const bool channels = c.coefficients.dim() == 3;
  const Tensor given = channels ? dfactors : dfactors.sum(2, true);
  Tensor found = at::cat({given.narrow(1, first, count), given.narrow(1, 0, 1)}, 1);
  found.narrow(1, 1, count) -= given.narrow(1, first, count);
  return (channels ? found : found.squeeze(2)).to(c.coefficients.scalar_type());
}

struct CorrectedAdd : Function<CorrectedAdd> {
  // Gains take no gradient, so they are passed in a type that autograd ignores.
  static Tensor forward(AutogradContext* ctx, const std::optional<Tensor>& x, const Tensor& m,
                        const std::optional<Tensor>& gate_given, TensorList coefficients, TensorList matrices,
                        const std::vector<Tensor>& gains) {
    const Tensor gate = gate_given.value_or(Tensor());
    Pass pass(x.value_or(Tensor()), m, gate, joined(coefficients, matrices, gains), false);
    Tensor out = at::empty_like(x ? pass.x : pass.m);
    pass.run(kernels().corrected, out, nullptr, nullptr);
    variable_list kept{m, gate};
    for (const TensorList list : {coefficients, matrices, TensorList(gains)})
      kept.insert(kept.end(), list.begin(), list.end());
    ctx->save_for_backward(std::move(kept));
    // Only the dtype is needed, also for second-order gradients.
    ctx->saved_data["x"] = int64_t(out.scalar_type());
    ctx->saved_data["corrections"] = int64_t(coefficients.size());
    return out;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto lists = size_t(ctx->saved_data["corrections"].toInt()), count = (saved.size() - 2 - lists) / 2;
    const TensorList all(saved), gains = all.slice(2 + lists + count, count);
    const Tensor &m = saved[0], &gate = saved[1];
    const Tensor whole = grads[0].to(at::ScalarType(ctx->saved_data["x"].toInt()));
    if (at::GradMode::is_enabled()) {
      // x only enters by addition, so zeros can replace it.
      const Tensor zeros = at::zeros_like(m, whole.options());
      auto found = differentiable(all.slice(0, 2 + lists + count).vec(), whole, [&](const variable_list& v) {
        const TensorList given(v);
        const Tensor r = v[1].defined() ? v[1] * v[0] : v[0];
        return reference_corrected(zeros + r, r, joined(given.slice(2, lists), given.slice(2 + lists, count), gains));
      });
      found.insert(found.begin(), gate.defined() ? whole : Tensor());
      found.emplace_back();
      return found;
    }
    const auto corrections = joined(all.slice(2, lists), all.slice(2 + lists, count), gains);
    Pass pass(whole, m, gate, corrections, true);
    Tensor dm = at::empty_like(pass.m);
    Tensor sums = at::zeros({pass.batch, int64_t(1 + count), pass.size}, pass.factors.options()), gradients;
    if (pass.trained)
      gradients = at::zeros({pass.batch * pass.slabs, int64_t(count), pass.grid, pass.grid}, sums.options());
    pass.run(kernels().corrected_backward, dm, sums.data_ptr<float>(),
             pass.trained ? gradients.data_ptr<float>() : nullptr);
    const Tensor matrices = pass.trained ? in_order(gradients) : Tensor();
    Tensor dgate, dfactors = sums;
    if (gate.defined()) {
      dgate = (sums * pass.factors).sum(1);
      dfactors = sums.mul_(pass.gates.rows.unsqueeze(1));
    }
    variable_list found(3 + lists + count + 1);
    size_t next = 0;
    for (size_t c = 0; c < lists; ++c) {
      found[3 + c] = coefficient_gradient(dfactors, corrections[c], int64_t(1 + next));
      for (const GridFilter& filter : corrections[c].filters) {
        if (filter.matrix.requires_grad())
          found[3 + lists + next] =
              matrices[int64_t(next)].reshape(filter.matrix.sizes()).to(filter.matrix.scalar_type());
        ++next;
      }
    }
    found[1] = dm;
    if (gate.defined()) {
      found[0] = whole;
      found[2] = like_vector(dgate, gate);
    }
    return found;
  }
};

// Whether the CPU operators support a filter of a grid of `tokens` tokens.
bool fits(const GridFilter& c, int64_t tokens) {
  const Tensor& m = c.matrix;
  if (!m.is_cpu() || !stored(m) || m.dim() != 3 || m.size(0) != 1 || m.size(2) * m.size(2) != tokens) return false;
  if (!c.gains.defined()) return m.size(1) == m.size(2);
  return c.gains.is_cpu() && stored(c.gains) && c.gains.numel() == m.size(1) * m.size(1) && !m.requires_grad() &&
         !c.gains.requires_grad() && folded(flat(m)).defined();
}

// Whether they support the coefficients: one number per band, or one per band and channel.
bool fits(const Tensor& k, const Tensor& m) {
  return k.is_cpu() && stored(k) && k.size(0) == m.size(0) &&
         (k.dim() == 2 || (k.dim() == 3 && k.size(2) == m.size(2)));
}

}  // namespace

namespace sp {

Tensor gated_add_corrected(const Tensor& x, const Tensor& m, const Tensor& gate,
                           const std::vector<Correction>& corrections) {
  const bool alone = !x.defined();
  if (corrections.empty()) return alone ? m : gated_add(x, m, gate);
  RECORD_FUNCTION("spectral::gated_add", c10::ArrayRef<const c10::IValue>{});
  if (switched_on() && corrections.size() == 1)
    if (auto y = device::gated_add_corrected(x, m, gate, corrections[0])) return *y;
  bool all = usable(m) && m.dim() == 3;
  if (!alone) all = all && usable(x) && x.sizes() == m.sizes() && is_vector(gate, m);
  variable_list coefficients, matrices, gains;
  for (const Correction& c : corrections) {
    all = all && fits(c.coefficients, m);
    coefficients.push_back(c.coefficients);
    for (const GridFilter& filter : c.filters) {
      all = all && fits(filter, m.size(1));
      matrices.push_back(filter.matrix);
      gains.push_back(filter.gains);
    }
  }
  all = all && int64_t(matrices.size()) <= MOST_FILTERS;
  if (all)
    return CorrectedAdd::apply(if_defined(x), m, if_defined(gate), TensorList(coefficients), TensorList(matrices),
                               gains);
  if (alone) return reference_corrected(m, m, corrections);
  return reference_corrected(gated_add(x, m, gate), gate * m, corrections);
}

}  // namespace sp
