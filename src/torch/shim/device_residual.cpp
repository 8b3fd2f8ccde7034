// The gated residual, with and without low-pass filters.
#include "device.h"

#include <ATen/Functions.h>

#include <mutex>

#include "columns.h"
#include "device_tokens.h"
#include "reference.h"

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;
using namespace sp;

namespace {

// ------------------------------------------------------------------ gated residual
struct Gated {
  Tensor x, m;  // x is the gradient in a backward pass
  ImageVectors gate;
  int64_t batch, tokens, size, vec;
  Spread spread;
  int64_t parts;
  KernelFile kernels;

  Gated(const Tensor& x_given, const Tensor& m_given, const Tensor& gate_given)
      : x(x_given.contiguous()),
        m(m_given.contiguous()),
        gate(gate_given, x.size(0)),
        batch(x.size(0)),
        tokens(x.size(1)),
        size(x.size(2)),
        vec(pack(x.scalar_type() == at::kBFloat16 && m.scalar_type() == at::kBFloat16 ? 8 : 4, size, {&x, &m, &gate.t},
                 {gate.stride})),
        spread(size / vec),
        parts(parts_of(batch * spread.slabs, tokens, 2 * spread.rows)),
        kernels("gated_add", x) {
    kernels.define("X", x.scalar_type()).define("M", m.scalar_type()).define("C", gate.t.scalar_type());
    kernels.define("D", gate.gradient_type()).define("SIZE", size).define("VEC", vec);
    kernels.define("LANES", spread.lanes).define("ROWS", spread.rows);
  }
  int64_t blocks() const { return batch * parts * spread.slabs; }
};

struct GatedAdd : Function<GatedAdd> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& m, const Tensor& gate) {
    Gated gated(x, m, gate);
    TORCH_CHECK(gated.kernels.load(), "the kernels of gated_add are gone");
    Tensor out = at::empty_like(gated.x);
    gated.kernels.launch("gated_add", gated.blocks(), gated.spread.threads(), data(gated.x), data(gated.m),
                         gated.gate.data(), writable(out), gated.gate.stride, int(gated.tokens), int(gated.parts));
    ctx->save_for_backward({m, gate});
    ctx->saved_data["x"] = int64_t(x.scalar_type());
    return out;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &m = saved[0], &gate = saved[1];
    const Tensor whole = grads[0].to(at::ScalarType(ctx->saved_data["x"].toInt()));
    if (at::GradMode::is_enabled()) {
      const auto found = differentiable({m, gate}, whole, [&](const variable_list& v) { return v[1] * v[0]; });
      return {whole, found[0], found[1]};
    }
    Gated gated(whole, m, gate);
    TORCH_CHECK(gated.kernels.load(), "the kernels of gated_add are gone");
    Tensor dm = at::empty_like(gated.m), dgate = gated.gate.gradient(gated.batch);
    Tensor sums = at::empty({gated.batch, gated.parts, 2, gated.size}, whole.options().dtype(at::kFloat));
    Tensor columns = at::empty({gated.batch, gated.size}, sums.options());
    gated.kernels.launch("gated_add_backward", gated.blocks(), gated.spread.threads(), data(gated.x), data(gated.m),
                         gated.gate.data(), writable(dm), sums.data_ptr<float>(), gated.gate.stride, int(gated.tokens),
                         int(gated.parts));
    gated.kernels.launch("gated_add_sums", (gated.batch * gated.size + 255) / 256, 256, sums.const_data_ptr<float>(),
                         writable(dgate), columns.data_ptr<float>(), int(gated.batch), int(gated.parts));
    keep_column_sums(dm, columns.sum(0));
    return {whole, dm, gated.gate.finish(dgate)};
  }
};

// ------------------------------------------------------------------ gated residual with low-pass filters
// A filter's matrix on the device, and its reach from the diagonal.
struct Filter {
  Tensor matrix;
  int64_t radius;
};

// Reading a matrix makes the CPU wait for the device, so the result is cached as long as the matrix lives.
Filter filter_of(const Tensor& matrix) {
  struct Known {
    c10::weak_intrusive_ptr<c10::TensorImpl> owner;
    c10::TensorImpl* address;
    int64_t version;
    Filter filter;
  };
  static std::mutex mutex;
  static auto& known = *new std::vector<Known>();
  const std::lock_guard<std::mutex> lock(mutex);
  const int64_t version = matrix.is_inference() ? 0 : int64_t(matrix._version());
  auto* address = matrix.unsafeGetTensorImpl();
  known.erase(std::remove_if(known.begin(), known.end(), [](const Known& k) { return k.owner.expired(); }),
              known.end());
  for (const Known& k : known)
    if (k.address == address && k.version == version) return k.filter;
  const at::NoGradGuard no_grad;
  const Tensor dense = matrix.to(at::kFloat).reshape({matrix.size(-2), matrix.size(-1)}).contiguous();
  const Tensor seen = dense.cpu();
  const int64_t grid = seen.size(0);
  int64_t radius = 0;
  auto* values = seen.const_data_ptr<float>();
  for (int64_t i = 0; i < grid; ++i)
    for (int64_t j = 0; j < grid; ++j)
      if (values[i * grid + j] != 0) radius = std::max(radius, std::abs(i - j));
  known.erase(std::remove_if(known.begin(), known.end(), [&](const Known& k) { return k.address == address; }),
              known.end());
  known.push_back(
      {c10::weak_intrusive_ptr<c10::TensorImpl>(matrix.getIntrusivePtr()), address, version, Filter{dense, radius}});
  return known.back().filter;
}

constexpr size_t MOST_ON_DEVICE = 4;
// In the layout of the kernels, which read as many as there are.
struct Matrices {
  const void* of[MOST_ON_DEVICE];
};

struct Corrected {
  Tensor x, m;  // x is the gradient in a backward pass
  ImageVectors gate;
  Tensor coefficients;
  std::vector<Filter> filters;
  bool channels;
  int64_t batch, grid, size, radius = 0, vec, lanes, slabs, parts;
  KernelFile kernels;

  Corrected(const Tensor& x_given, const Tensor& m_given, const Tensor& gate_given, const Correction& correction)
      : x(x_given.defined() ? x_given.contiguous() : Tensor()),
        m(m_given.contiguous()),
        gate(gate_given, m.size(0)),
        coefficients(correction.coefficients),
        channels(coefficients.dim() == 3),
        batch(m.size(0)),
        grid(correction.filters[0].matrix.size(-1)),
        size(m.size(2)),
        kernels("corrected", m) {
    for (const GridFilter& filter : correction.filters) {
      filters.push_back(filter_of(filter.matrix));
      radius = std::max(radius, filters.back().radius);
    }
    if (channels && size > 1 && coefficients.stride(2) != 1) coefficients = coefficients.contiguous();
    // Each thread holds 2 radius + 1 packs, and one more for each filter.
    const int64_t most = radius > 3 || filters.size() > 2 ? 2 : 4;
    vec = channels ? pack(most, size, {&x, &m, &gate.t, &coefficients},
                          {gate.stride, coefficients.stride(0), coefficients.stride(1)})
                   : pack(most, size, {&x, &m, &gate.t}, {gate.stride});
    const int64_t packs = size / vec, threads = filters.size() > 1 ? 128 : 256,
                  row = std::max<int64_t>(4, threads / grid);
    slabs = (packs + row - 1) / row;
    lanes = (packs + slabs - 1) / slabs;
    parts = parts_of(batch * slabs, grid, 4);
    kernels.define("X", (x.defined() ? x : m).scalar_type()).define("M", m.scalar_type());
    kernels.define("C", gate.type()).define("K", coefficients.scalar_type()).define("D", gate.gradient_type());
    kernels.define("ALONE", int64_t(!gate.defined()));
    kernels.define("SIZE", size).define("VEC", vec).define("LANES", lanes);
    kernels.define("GRID", grid).define("RADIUS", radius);
    kernels.define("FILTERS", int64_t(filters.size())).define("CHANNELS", int64_t(channels));
  }
  // Whether a thread can hold the rows, and the shared memory of a block the taps and two lines of the grid.
  bool fits() const {
    const int64_t numbers = int64_t(filters.size()) * grid * (2 * radius + 1 + 2 * lanes * vec);
    return radius <= 8 && 4 * numbers <= 48 << 10;
  }

  template <class... A>
  void launch(const char* name, const Tensor& out, A... more) const {
    Matrices matrices{};
    for (size_t f = 0; f < filters.size(); ++f) matrices.of[f] = data(filters[f].matrix);
    kernels.launch(name, batch * parts * slabs, lanes * grid, data(x), data(m), gate.data(), data(coefficients),
                   matrices, writable(out), more..., gate.stride, coefficients.stride(0), coefficients.stride(1),
                   int(parts));
  }
};

struct CorrectedAdd : Function<CorrectedAdd> {
  static Correction correction(const Tensor& coefficients, at::TensorList matrices) {
    Correction made{coefficients, {}};
    for (const Tensor& matrix : matrices) made.filters.push_back({matrix, Tensor()});
    return made;
  }
  static Tensor forward(AutogradContext* ctx, const std::optional<Tensor>& x, const Tensor& m,
                        const std::optional<Tensor>& gate_given, const Tensor& coefficients,
                        const std::vector<Tensor>& matrices) {
    const Tensor gate = gate_given.value_or(Tensor());
    Corrected corrected(x.value_or(Tensor()), m, gate, correction(coefficients, matrices));
    TORCH_CHECK(corrected.kernels.load(), "the kernels of the correction are gone");
    Tensor out = at::empty_like(x ? corrected.x : corrected.m);
    corrected.launch("corrected", out);
    variable_list kept{m, gate, coefficients};
    kept.insert(kept.end(), matrices.begin(), matrices.end());
    ctx->save_for_backward(std::move(kept));
    ctx->saved_data["x"] = int64_t(out.scalar_type());
    return out;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &m = saved[0], &gate = saved[1], &coefficients = saved[2];
    const auto matrices = at::TensorList(saved).slice(3);
    const auto dtype = at::ScalarType(ctx->saved_data["x"].toInt());
    const Tensor whole = grads[0].to(dtype), dx = gate.defined() ? whole : Tensor();
    if (at::GradMode::is_enabled()) {
      // x only enters by addition, so zeros can replace it.
      const Tensor zeros = at::zeros_like(m, m.options().dtype(dtype));
      const auto found = differentiable({m, gate, coefficients}, whole, [&](const variable_list& v) {
        const Tensor r = v[1].defined() ? v[1] * v[0] : v[0];
        return reference_corrected(zeros + r, r, {correction(v[2], matrices)});
      });
      return {dx, found[0], found[1], found[2], Tensor()};
    }
    Corrected corrected(whole, m, gate, correction(coefficients, matrices));
    TORCH_CHECK(corrected.kernels.load(), "the kernels of the correction are gone");
    const int64_t batch = corrected.batch, parts = corrected.parts, filters = int64_t(corrected.filters.size());
    Tensor dm = at::empty_like(corrected.m), dgate = corrected.gate.gradient(batch);
    Tensor dcoefficients = at::empty(coefficients.sizes(), coefficients.options());
    Tensor sums = at::empty({batch, parts, filters + 2, corrected.size}, whole.options().dtype(at::kFloat));
    Tensor columns = at::empty({batch, corrected.size}, sums.options());
    corrected.launch("corrected_backward", dm, sums.data_ptr<float>());
    corrected.kernels.launch("corrected_sums", batch, 256, sums.const_data_ptr<float>(), corrected.gate.data(),
                             data(corrected.coefficients), writable(dgate), writable(dcoefficients),
                             columns.data_ptr<float>(), corrected.gate.stride, corrected.coefficients.stride(0),
                             corrected.coefficients.stride(1), int(parts));
    keep_column_sums(dm, columns.sum(0));
    return {dx, dm, corrected.gate.finish(dgate), dcoefficients, Tensor()};
  }
};

bool takes_residual(const Tensor& x, const Tensor& m, const Tensor& gate) {
  return takes(x) && takes(m) && x.device() == m.device() && x.sizes() == m.sizes() && is_image_vector(gate, x);
}

}  // namespace

namespace sp::device {

std::optional<Tensor> gated_add(const Tensor& x, const Tensor& m, const Tensor& gate) {
  if (!takes_residual(x, m, gate) || !Gated(x, m, gate).kernels.load()) return std::nullopt;
  return GatedAdd::apply(x, m, gate);
}

std::optional<Tensor> gated_add_corrected(const Tensor& x, const Tensor& m, const Tensor& gate,
                                          const Correction& correction) {
  const Tensor& k = correction.coefficients;
  const bool channels = k.dim() == 3;
  const bool fits = x.defined() ? takes_residual(x, m, gate) : takes(m);
  if (!fits || k.device() != m.device() || !stored(k) || k.size(0) != m.size(0) ||
      k.size(1) != int64_t(correction.filters.size()) + 1 || (channels && k.size(2) != m.size(2)) ||
      correction.filters.size() > MOST_ON_DEVICE)
    return std::nullopt;
  std::vector<Tensor> matrices;
  for (const GridFilter& filter : correction.filters) {
    const Tensor& matrix = filter.matrix;
    const int64_t grid = matrix.size(-1);
    if (filter.gains.defined() || matrix.device() != m.device() || matrix.numel() != grid * grid ||
        grid * grid != m.size(1) || matrix.requires_grad() || grid > 128)
      return std::nullopt;
    matrices.push_back(matrix);
  }
  Corrected corrected(x, m, gate, correction);
  if (!corrected.fits() || !corrected.kernels.load()) return std::nullopt;
  return CorrectedAdd::apply(if_defined(x), m, if_defined(gate), k, matrices);
}

}  // namespace sp::device
