// Layer norm and modulation, alone or fused with the residual stream that it reads.
#include <ATen/Functions.h>

#include "columns.h"
#include "device.h"
#include "device_tokens.h"
#include "reference.h"

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;
using namespace sp;

namespace {

struct Norm {
  Tensor x, m;  // m is undefined without a residual
  ImageVectors gate, shift, scale;
  int64_t batch, tokens, size, parts;
  at::ScalarType to;
  KernelFile kernels;

  Norm(const Tensor& x_given, const Tensor& m_given, const Tensor& gate_given, const Tensor& shift_given,
       const Tensor& scale_given, bool centered, at::ScalarType to, std::initializer_list<const Tensor*> gradients = {})
      : x(x_given.contiguous()),
        m(m_given.defined() ? m_given.contiguous() : m_given),
        gate(gate_given.defined() ? gate_given : shift_given, x.size(0)),
        shift(shift_given, x.size(0)),
        scale(scale_given, x.size(0)),
        batch(x.size(0)),
        tokens(x.size(1)),
        size(x.size(2)),
        parts(parts_of(batch, tokens, 8)),
        to(to),
        kernels("norm_modulate", x) {
    const int64_t most = to == at::kBFloat16 && x.scalar_type() == at::kBFloat16 ? 8 : 4;
    const int64_t vec = std::min(pack(most, size, {&x, m.defined() ? &m : &x, &gate.t, &shift.t, &scale.t},
                                      {gate.stride, shift.stride, scale.stride}),
                                 pack(most, size, gradients));
    kernels.define("GATED", m.defined()).define("X", x.scalar_type());
    kernels.define("M", m.defined() ? m.scalar_type() : x.scalar_type()).define("Y", to);
    kernels.define("C", shift.t.scalar_type()).define("D", gradient_type());
    kernels.define("SIZE", size).define("VEC", vec).define("WARPS", warps());
    if (!centered) kernels.define("CENTERED", false);
  }
  // When a thread needs many registers, more of the smaller blocks run at once.
  int64_t warps() const { return m.defined() && size > 256 ? 4 : 8; }
  int64_t sums() const { return m.defined() ? 4 : 2; }
  // The kernel writes the gradients of all three vectors in one dtype, but each can be expanded for itself.
  at::ScalarType gradient_type() const {
    const bool expanded = gate.stride == 0 || shift.stride == 0 || scale.stride == 0;
    return expanded ? at::kFloat : shift.type();
  }
  Tensor gradient(const ImageVectors& of) const { return of.gradient(batch, gradient_type()); }
  // A warp holds a token and its sums in registers, so the token must not be too wide.
  static bool fits(int64_t size, bool gated) { return size <= (gated ? 384 : 1280); }
};

// Computes y = norm(s) (1 + scale) + shift, where s is x, or x + gate m. Returns y or, if it `carries` the stream,
// s and y, so that one pass of the backward kernel adds the gradients of the stream and of the norm.
struct NormModulate : Function<NormModulate> {
  static variable_list forward(AutogradContext* ctx, const Tensor& x, const std::optional<Tensor>& m_given,
                               const std::optional<Tensor>& gate_given, const Tensor& shift, const Tensor& scale,
                               bool centered, int64_t to, bool carries) {
    const Tensor m = m_given.value_or(Tensor()), gate = gate_given.value_or(Tensor());
    Norm norm(x, m, gate, shift, scale, centered, at::ScalarType(to));
    TORCH_CHECK(norm.kernels.load(), "the kernels of norm_modulate are gone");
    Tensor sum = m.defined() ? at::empty_like(norm.x) : Tensor();
    Tensor y = at::empty(norm.x.sizes(), norm.x.options().dtype(norm.to));
    Tensor stats = at::empty({2, norm.batch * norm.tokens}, norm.x.options().dtype(at::kFloat));
    auto* mean = stats.data_ptr<float>();
    norm.kernels.launch("norm_modulate", norm.batch * norm.parts, 32 * norm.warps(), data(norm.x), data(norm.m),
                        norm.gate.data(), norm.shift.data(), norm.scale.data(), writable(sum), writable(y), mean,
                        mean + norm.batch * norm.tokens, norm.gate.stride, norm.shift.stride, norm.scale.stride,
                        int(norm.tokens), int(norm.parts), float(NORM_EPS));
    ctx->save_for_backward({x, m, gate, shift, scale, stats, sum});
    ctx->saved_data["to"] = to;
    ctx->saved_data["centered"] = centered;
    ctx->saved_data["carries"] = carries;
    ctx->set_materialize_grads(false);
    if (!carries) return {y};
    return {m.defined() ? sum : x, y};
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &m = saved[1], &gate = saved[2], &shift = saved[3], &scale = saved[4];
    const Tensor &stats = saved[5], &sum = saved[6];
    const bool carries = ctx->saved_data["carries"].toBool(), centered = ctx->saved_data["centered"].toBool();
    if (at::GradMode::is_enabled()) {
      auto found = differentiable({x, m, gate, shift, scale}, grads, [&](const variable_list& v) -> variable_list {
        const Tensor stream = v[1].defined() ? v[0] + v[2] * v[1] : v[0];
        const Tensor y = reference_norm_modulate(stream, v[3], v[4], centered);
        return carries ? variable_list{stream, y} : variable_list{y};
      });
      found.resize(8);
      return found;
    }
    const auto to = at::ScalarType(ctx->saved_data["to"].toInt());
    const Tensor& tokens = sum.defined() ? sum : x;
    const Tensor dy =
        grads.back().defined() ? grads.back().to(to).contiguous() : at::zeros(x.sizes(), x.options().dtype(to));
    const Tensor carried = carries && grads[0].defined() ? grads[0].to(x.scalar_type()).contiguous() : Tensor();
    Norm norm(tokens, m, gate, shift, scale, centered, to, {&dy, carried.defined() ? &carried : &dy});
    TORCH_CHECK(norm.kernels.load(), "the kernels of norm_modulate are gone");
    Tensor dx = at::empty_like(norm.x), dm = m.defined() ? at::empty_like(norm.m) : Tensor();
    Tensor dshift = norm.gradient(norm.shift), dscale = norm.gradient(norm.scale);
    Tensor dgate = m.defined() ? norm.gradient(norm.gate) : Tensor();
    Tensor sums = at::empty({norm.batch, norm.parts, norm.sums(), norm.size}, stats.options());
    Tensor columns = m.defined() ? at::empty({norm.batch, norm.size}, stats.options()) : Tensor();
    auto* mean = stats.const_data_ptr<float>();
    norm.kernels.launch("norm_modulate_backward", norm.batch * norm.parts, 32 * norm.warps(), data(dy), data(carried),
                        data(norm.x), data(norm.m), norm.gate.data(), norm.scale.data(), mean,
                        mean + norm.batch * norm.tokens, writable(dx), writable(dm), sums.data_ptr<float>(),
                        norm.gate.stride, norm.scale.stride, int(norm.tokens), int(norm.parts));
    norm.kernels.launch("norm_modulate_sums", (norm.batch * norm.size + 255) / 256, 256, sums.const_data_ptr<float>(),
                        writable(dshift), writable(dscale), writable(dgate), writable(columns), int(norm.batch),
                        int(norm.parts));
    variable_list found(8);
    found[0] = dx;
    if (m.defined()) {
      keep_column_sums(dm, columns.sum(0));
      found[1] = dm;
      found[2] = norm.gate.finish(dgate);
    }
    found[3] = norm.shift.finish(dshift);
    found[4] = norm.scale.finish(dscale);
    return found;
  }
};

// Returns nothing if the kernels do not apply.
variable_list normalize(const Tensor& x, const Tensor& m, const Tensor& gate, const Tensor& shift, const Tensor& scale,
                        bool centered, bool carries) {
  auto same = [&](const Tensor& t) { return t.scalar_type() == shift.scalar_type() && t.sizes() == shift.sizes(); };
  if (!takes(x) || !is_image_vector(shift, x) || !is_image_vector(scale, x) || !same(scale) ||
      !Norm::fits(x.size(2), m.defined()))
    return {};
  if (m.defined() &&
      (!stored(m) || m.device() != x.device() || m.sizes() != x.sizes() || !is_image_vector(gate, x) || !same(gate)))
    return {};
  // The following products take bfloat16 under autocast, so the output is rounded here.
  const auto to = autocasts(x) ? at::kBFloat16 : x.scalar_type();
  if (!Norm(x, m, gate, shift, scale, centered, to).kernels.load()) return {};
  const auto given = [](const Tensor& t) { return t.defined() ? std::optional<Tensor>(t) : std::nullopt; };
  return NormModulate::apply(x, given(m), given(gate), shift, scale, centered, int64_t(to), carries);
}

}  // namespace

namespace sp::device {

std::optional<Tensor> norm_modulate(const Tensor& x, const Tensor& shift, const Tensor& scale, bool centered) {
  const auto found = normalize(x, Tensor(), Tensor(), shift, scale, centered, false);
  return found.empty() ? std::nullopt : std::optional<Tensor>(found[0]);
}

std::optional<Stream> stream_norm(const Tensor& x, const Tensor& m, const Tensor& gate, const Tensor& shift,
                                  const Tensor& scale, bool centered) {
  const auto found = normalize(x, m, gate, shift, scale, centered, true);
  return found.empty() ? std::nullopt : std::optional<Stream>(Stream{found[0], found[1]});
}

}  // namespace sp::device
