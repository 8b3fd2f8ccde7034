// The gated residual with corrections by linear filters: connects libtorch to the CPU operators of filters.h.
//
// The gate is constant over the tokens, so it commutes with the filter: F(gate m) = gate F(m). All corrections
// together are x + gate (whole m + sum of part_k F_k(m)), where whole = 1 + the sum of the last coefficients, and
// each filter's part is its coefficient minus the next one. In the backward pass the filtered gradient gives the
// gradients of m, gate and coefficients alike, since the sum of G F(m) equals that of F^T(G) m. All sums are added
// in an order that depends only on the shape.
#include "corrected.h"

#include <ATen/record_function.h>

#include <utility>

#include "device.h"
#include "reference.h"

using at::Tensor;
using at::TensorList;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;
using namespace sp;

namespace {

struct CorrectedAdd : Function<CorrectedAdd> {
  // Gains take no gradient, so they are passed in a type that autograd ignores.
  static Tensor forward(AutogradContext* ctx, const std::optional<Tensor>& x_given, const Tensor& m_given,
                        const std::optional<Tensor>& gate_given, TensorList coefficients, TensorList matrices,
                        const std::vector<Tensor>& gains) {
    const Tensor gate = gate_given.value_or(Tensor()), m = m_given.contiguous();
    const Tensor x = x_given ? x_given->contiguous() : Tensor();
    const Pass pass(m, gate, joined(coefficients, matrices, gains), false);
    Tensor out = at::empty_like(x_given ? x : m);
    share(pass.batch * pass.slabs, [&](int64_t task) {
      const int64_t image = task / pass.slabs;
      const Pass::View none{nullptr, storage(m)}, stream = x_given ? Pass::view(x, image) : none,
                                                  result = Pass::view(out, image);
      pass.slab(kernels().corrected, image, task % pass.slabs, stream, Pass::view(m, image), result, {stream, result},
                scratch(pass.space()), nullptr, nullptr);
    });
    variable_list kept{m_given, gate};
    for (const TensorList list : {coefficients, matrices, TensorList(gains)})
      kept.insert(kept.end(), list.begin(), list.end());
    ctx->save_for_backward(std::move(kept));
    // Only the dtype is needed, even for second-order gradients.
    ctx->saved_data["x"] = int64_t(out.scalar_type());
    ctx->saved_data["corrections"] = int64_t(coefficients.size());
    return out;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto lists = size_t(ctx->saved_data["corrections"].toInt()), count = (saved.size() - 2 - lists) / 2;
    const TensorList all(saved), gains = all.slice(2 + lists + count, count);
    const Tensor &m_given = saved[0], &gate = saved[1];
    const Tensor whole = grads[0].to(at::ScalarType(ctx->saved_data["x"].toInt()));
    if (at::GradMode::is_enabled()) {
      // x only enters by addition, so zeros can replace it.
      const Tensor zeros = at::zeros_like(m_given, whole.options());
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
    const Tensor m = m_given.contiguous(), g = whole.contiguous();
    const Pass pass(m, gate, corrections, true);
    const Totals totals(pass);
    Tensor dm = at::empty_like(m);
    share(pass.batch * pass.slabs, [&](int64_t task) {
      const int64_t image = task / pass.slabs;
      const Pass::View tokens = Pass::view(m, image), result = Pass::view(dm, image);
      pass.slab(kernels().corrected_backward, image, task % pass.slabs, Pass::view(g, image), tokens, result,
                {tokens, result}, scratch(pass.space()), totals.of_sums(), totals.of_matrices());
    });
    variable_list found(3 + lists + count + 1);
    Tensor dfactors = totals.sums;
    if (gate.defined()) {
      found[0] = whole;
      found[2] = like_vector((totals.sums * pass.factors).sum(1), gate);
      dfactors.mul_(pass.gates.rows.unsqueeze(1));
    }
    found[1] = dm;
    totals.write(dfactors, corrections, &found[3]);
    return found;
  }
};

}  // namespace

namespace sp {

Tensor gated_add_corrected(const Tensor& x, const Tensor& m, const Tensor& gate,
                           const std::vector<Correction>& corrections) {
  const bool alone = !x.defined();
  if (corrections.empty()) return alone ? m : gated_add(x, m, gate);
  RECORD_FUNCTION("spectral::gated_add", c10::ArrayRef<const c10::IValue>{});
  if (switched_on() && corrections.size() == 1)
    if (auto y = device::gated_add_corrected(x, m, gate, corrections[0])) return *y;
  const bool takes =
      usable(m) && m.dim() == 3 && (alone || (usable(x) && x.sizes() == m.sizes() && is_vector(gate, m)));
  if (takes) {
    const Listed l(m, corrections);
    if (l.fits)
      return CorrectedAdd::apply(if_defined(x), m, if_defined(gate), TensorList(l.coefficients), TensorList(l.matrices),
                                 l.gains);
  }
  if (alone) return reference_corrected(m, m, corrections);
  return reference_corrected(gated_add(x, m, gate), gate * m, corrections);
}

}  // namespace sp
