// Attention on a device: one kernel normalizes and rotates queries and keys, and the fastest of libtorch's backends for
// the shape computes the attention.
#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <array>
#include <chrono>
#include <map>
#include <mutex>
#include <sstream>

#include "columns.h"
#include "device.h"
#include "launch.h"
#include "reference.h"

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;
using namespace sp;

namespace {

// ------------------------------------------------------------------ queries, keys and values
struct Split {
  Tensor qkv, q_weight, k_weight;
  Rotation rotation;
  int64_t batch, tokens, heads, size, vec, lanes, packs;
  KernelFile kernels;

  // The weights are undefined without a norm, and the tables without a rotation.
  Split(const Tensor& qkv_given, const Tensor& q, const Tensor& k, const Rotation& tables, int64_t heads,
        std::initializer_list<const Tensor*> gradients = {}, std::initializer_list<int64_t> strides = {})
      : qkv(qkv_given.contiguous()),
        q_weight(q.defined() ? q.contiguous() : q),
        k_weight(k.defined() ? k.contiguous() : k),
        rotation(tables),
        batch(qkv.size(0)),
        tokens(qkv.size(1)),
        heads(heads),
        size(qkv.size(2) / 3 / heads),
        kernels("qk_norm", qkv) {
    const int64_t most = qkv.scalar_type() == at::kBFloat16 ? 8 : 4;
    vec = std::min(pack(most, size, {&qkv, &q_weight, &k_weight, &rotation.cos, &rotation.sin}),
                   pack(most, size, gradients, strides));
    lanes = 1;
    while (lanes < 32 && lanes * vec < size) lanes *= 2;
    packs = (size / vec + lanes - 1) / lanes;
    kernels.define("E", qkv.scalar_type());
    kernels.define("W", normalizes() ? q_weight.scalar_type() : qkv.scalar_type()).define("HEADS", heads);
    kernels.define("SIZE", size).define("VEC", vec).define("LANES", lanes).define("ROWS", rows());
    if (!normalizes()) kernels.define("NORM", false);
    if (rotates()) kernels.define("ROTATE", true);
  }
  bool normalizes() const { return q_weight.defined(); }
  bool rotates() const { return rotation.cos.defined(); }
  static const void* data(const Tensor& t) { return t.defined() ? t.const_data_ptr() : nullptr; }
  // Number of rows of the tables from one image to the next.
  int64_t table_step() const { return rotates() && rotation.cos.size(0) > 1 ? tokens : 0; }
  // Threads for the 3 heads vectors of a token, and the number of tokens that a block of the backward pass takes at
  // once.
  int64_t row_threads() const { return 3 * heads * lanes; }
  int64_t rows() const { return std::max<int64_t>(256 / row_threads(), 1); }
  int64_t backward_threads() const { return (rows() * row_threads() + 31) / 32 * 32; }
  // Vectors stay in registers, sums in 48 KiB of shared memory.
  bool fits() const {
    // A pack holds whole pairs of channels.
    return (!rotates() || vec >= 2) && packs * vec <= 16 && row_threads() <= 1024 &&
           rows() * 3 * heads * size * 4 <= 48 << 10 && batch * tokens * 3 * heads < (int64_t(1) << 31) - (1 << 20);
  }
  int64_t blocks() const { return parts_of(1, batch * tokens * 2 * heads, 4 * (256 / lanes)); }
  int64_t backward_blocks() const { return parts_of(1, batch * tokens, 4 * rows(), 3072); }
  int64_t hidden() const { return heads * size; }
};

struct Strides {
  int64_t image, token, head;
  explicit Strides(const Tensor& t) : image(t.stride(0)), token(t.stride(1)), head(t.stride(2)) {}
};

// q, k and v [B, N, heads, D]; v shares the memory of its source.
struct SplitNormalized : Function<SplitNormalized> {
  static variable_list forward(AutogradContext* ctx, const Tensor& qkv, const std::optional<Tensor>& q_given,
                               const std::optional<Tensor>& k_given, const std::optional<Tensor>& cos,
                               const std::optional<Tensor>& sin, int64_t heads, double eps) {
    const Tensor q_weight = q_given.value_or(Tensor()), k_weight = k_given.value_or(Tensor());
    Split split(qkv, q_weight, k_weight, {cos.value_or(Tensor()), sin.value_or(Tensor())}, heads);
    TORCH_CHECK(split.kernels.load(), "the kernels of qk_norm are gone");
    const int64_t rows = split.batch * split.tokens;
    Tensor q = at::empty({split.batch, split.tokens, heads, split.size}, split.qkv.options()), k = at::empty_like(q);
    split.kernels.launch("qk_norm", split.blocks(), 256, split.qkv.const_data_ptr(), Split::data(split.q_weight),
                         Split::data(split.k_weight), Split::data(split.rotation.cos), Split::data(split.rotation.sin),
                         q.data_ptr(), k.data_ptr(), int(rows), int(split.tokens), split.table_step(), rms_eps(eps));
    ctx->save_for_backward({qkv, q_weight, k_weight, split.rotation.cos, split.rotation.sin});
    ctx->saved_data["heads"] = heads;
    ctx->saved_data["eps"] = eps;
    // Below autograd this is a separate tensor, not a view of an input, which an autograd function may not return.
    const at::AutoDispatchBelowADInplaceOrView below;
    const int64_t hidden = split.hidden();
    const Tensor v = at::as_strided(split.qkv, q.sizes(), {3 * hidden * split.tokens, 3 * hidden, split.size, 1},
                                    split.qkv.storage_offset() + 2 * hidden);
    return {q, k, v};
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &qkv = saved[0], &q_weight = saved[1], &k_weight = saved[2];
    const Rotation rotation{saved[3], saved[4]};
    const int64_t heads = ctx->saved_data["heads"].toInt();
    const double eps = ctx->saved_data["eps"].toDouble();
    const int64_t hidden = qkv.size(2) / 3;
    if (at::GradMode::is_enabled()) {
      auto found = differentiable({qkv, q_weight, k_weight}, at::stack({grads[0], grads[1], grads[2]}, 2),
                                  [&](const variable_list& v) {
                                    const auto both = reference_split(v[0], v[1], v[2], heads, eps, rotation);
                                    return at::stack({both[0], both[1], both[2]}, 2);
                                  });
      found.resize(7);
      return found;
    }
    std::array<Tensor, 3> d;
    for (size_t i = 0; i < 3; ++i) {
      const Tensor& g = grads[i];
      d[i] = !g.defined() ? at::zeros({qkv.size(0), qkv.size(1), heads, hidden / heads}, qkv.options())
                          : g.to(qkv.scalar_type());
      // Rotations need packs of at least two channels.
      const bool packed = !rotation.cos.defined() ||
                          pack(2, hidden / heads, {&d[i]}, {d[i].stride(0), d[i].stride(1), d[i].stride(2)}) == 2;
      if (d[i].stride(3) != 1 || !packed) d[i] = d[i].clone(at::MemoryFormat::Contiguous);
    }
    const Strides q(d[0]), k(d[1]), v(d[2]);
    Split split(qkv, q_weight, k_weight, rotation, heads, {&d[0], &d[1], &d[2]},
                {q.image, q.token, q.head, k.image, k.token, k.head, v.image, v.token, v.head});
    TORCH_CHECK(split.kernels.load(), "the kernels of qk_norm are gone");
    const int64_t blocks = split.backward_blocks();
    Tensor dqkv = at::empty_like(split.qkv);
    Tensor sums = at::empty({blocks, 2, split.size}, qkv.options().dtype(at::kFloat));
    Tensor columns = at::empty({blocks, 3 * hidden}, sums.options());
    split.kernels.launch("qk_norm_backward", blocks, split.backward_threads(), split.qkv.const_data_ptr(),
                         Split::data(split.q_weight), Split::data(split.k_weight), Split::data(rotation.cos),
                         Split::data(rotation.sin), d[0].const_data_ptr(), d[1].const_data_ptr(), d[2].const_data_ptr(),
                         dqkv.data_ptr(), sums.data_ptr<float>(), columns.data_ptr<float>(), q, k, v,
                         int(split.batch * split.tokens), int(split.tokens), split.table_step(), rms_eps(eps));
    keep_column_sums(dqkv, columns.sum(0));
    variable_list found{dqkv};
    if (q_weight.defined()) {
      const Tensor all = sums.sum(0, false, q_weight.scalar_type());
      found.insert(found.end(), {all[0], all[1]});
    }
    found.resize(7);
    return found;
  }
};

// ------------------------------------------------------------------ choice of the backend
enum Backend { DEFAULT, FLASH, EFFICIENT, CUDNN, CPU_FLASH, MATH };
constexpr const char* NAMES[] = {"default", "flash", "efficient", "cudnn", "flash_for_cpu", "math"};

Tensor mix_by(Backend backend, const Tensor& q, const Tensor& k, const Tensor& v) {
  const bool trains = at::GradMode::is_enabled() && (q.requires_grad() || k.requires_grad() || v.requires_grad());
  switch (backend) {
    case FLASH:
      return std::get<0>(at::_scaled_dot_product_flash_attention(q, k, v));
    case EFFICIENT:
      return std::get<0>(at::_scaled_dot_product_efficient_attention(q, k, v, {}, trains));
    case CUDNN:
      return std::get<0>(at::_scaled_dot_product_cudnn_attention(q, k, v, {}, trains));
    case CPU_FLASH:
      return std::get<0>(at::_scaled_dot_product_flash_attention_for_cpu(q, k, v));
    case MATH:
      return std::get<0>(at::_scaled_dot_product_attention_math(q, k, v));
    default:
      return at::scaled_dot_product_attention(q, k, v);
  }
}

// Returns the backends to try for these tensors; libtorch's own choice comes first.
std::vector<Backend> candidates(const Tensor& q) {
  const int64_t size = q.size(3);
  if (q.is_cpu()) return {DEFAULT, CPU_FLASH, MATH};
  std::vector<Backend> all{DEFAULT, EFFICIENT};
  if (q.scalar_type() == at::kBFloat16 && size % 8 == 0 && size <= 256) all.push_back(FLASH);
  if (q.scalar_type() == at::kBFloat16 && size % 8 == 0 && size <= 128 && q.size(2) > 1) all.push_back(CUDNN);
  return all;
}

void wait_for(const Tensor& t) {
  if (t.is_cuda()) c10::impl::VirtualGuardImpl(at::kCUDA).synchronizeDevice(t.device().index());
}

// Returns the output and, if wanted, the gradients; empty if the backend refuses.
variable_list attempt(Backend backend, const variable_list& inputs, bool trains) {
  try {
    const at::AutoGradMode recording(trains);
    const Tensor out = mix_by(backend, inputs[0], inputs[1], inputs[2]);
    variable_list all{out.detach()};
    if (trains)
      for (const Tensor& g : torch::autograd::grad({out}, inputs, {at::ones_like(out)})) all.push_back(g);
    return all;
  } catch (const c10::Error&) {
    return {};
  }
}

bool close(const variable_list& a, const variable_list& b) {
  const double allowed = a[0].scalar_type() == at::kBFloat16 ? 5e-2 : 1e-3;
  for (size_t i = 0; i < a.size(); ++i) {
    const double largest = b[i].abs().max().item<double>();
    // This form also fails for NaN.
    if (!((a[i] - b[i]).abs().max().item<double>() <= allowed * std::max(largest, 1e-3))) return false;
  }
  return true;
}

// Returns the milliseconds of a run, the minimum of a few.
double time_of(Backend backend, const variable_list& inputs, bool trains) {
  double least = 1e30;
  for (int round = 0; round < 5; ++round) {
    wait_for(inputs[0]);
    const auto start = std::chrono::steady_clock::now();
    // Several in a row, so that launch overhead counts as little as in a model.
    for (int i = 0; i < 3; ++i)
      if (attempt(backend, inputs, trains).empty()) return 1e30;
    wait_for(inputs[0]);
    least =
        std::min(least, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  return least / 3;
}

struct Choice {
  Backend backend;
  std::string times;
};
using Shape = std::array<int64_t, 7>;  // device, dtype, trains, images, heads, tokens, channels

std::mutex mutex;
auto& known = *new std::map<Shape, Choice>();

Choice measure(const Tensor& q, bool trains) {
  // In the layout of the real inputs, [B, N, H, D] in memory. Nothing is drawn at random, so no generator advances.
  variable_list inputs;
  for (const double step : {0.7, 0.9, 1.1})
    inputs.push_back(at::arange(q.numel(), q.options().dtype(at::kFloat))
                         .mul_(step)
                         .sin_()
                         .to(q.scalar_type())
                         .view({q.size(0), q.size(2), q.size(1), q.size(3)})
                         .transpose(1, 2)
                         .requires_grad_(trains));
  const variable_list expected = attempt(DEFAULT, inputs, trains);
  Choice best{DEFAULT, ""};
  double least = 1e30;
  std::ostringstream times;
  times.precision(3);
  for (const Backend backend : candidates(q)) {
    const variable_list found = attempt(backend, inputs, trains);
    if (found.empty() || (!expected.empty() && !close(found, expected))) continue;
    const double took = time_of(backend, inputs, trains);
    if (took >= 1e30) continue;
    times << (times.tellp() > 0 ? ", " : "") << NAMES[backend] << " " << took << " ms";
    // Libtorch's own choice stays unless another backend is clearly faster.
    if (backend == DEFAULT ? least == 1e30 : took < 0.97 * least) {
      least = took;
      best.backend = backend;
    }
  }
  best.times = times.str();
  return best;
}

Backend backend_for(const Tensor& q, bool trains) {
  // Deterministic mode leaves the choice to libtorch, without cuDNN; see sp_set_deterministic.
  if (at::globalContext().deterministicAlgorithms()) return DEFAULT;
  int64_t images = 1;
  while (images < q.size(0)) images *= 2;
  const Shape shape{q.device().index(), int64_t(q.scalar_type()), trains, images, q.size(1), q.size(2), q.size(3)};
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = known.find(shape);
  if (found != known.end()) return found->second.backend;
  return known.emplace(shape, measure(q, trains)).first->second.backend;
}

}  // namespace

namespace sp::device {

Tensor mix(const Tensor& q, const Tensor& k, const Tensor& v) {
  const bool trains = at::GradMode::is_enabled() && (q.requires_grad() || k.requires_grad() || v.requires_grad());
  return mix_by(backend_for(q, trains), q, k, v);
}

std::string choices() {
  const std::lock_guard<std::mutex> lock(mutex);
  std::ostringstream lines;
  for (const auto& [shape, choice] : known)
    lines << NAMES[choice.backend] << ": [" << shape[3] << ", " << shape[4] << ", " << shape[5] << ", " << shape[6]
          << "] " << at::toString(at::ScalarType(shape[1])) << (shape[2] ? ", with gradients" : "") << ": "
          << choice.times << "\n";
  return lines.str();
}

std::optional<Tensor> attend(const Tensor& qkv, const Tensor& q_weight, const Tensor& k_weight, int64_t heads,
                             double eps, const Rotation& given) {
  auto stored = [](const Tensor& t) { return t.scalar_type() == at::kFloat || t.scalar_type() == at::kBFloat16; };
  if (!has_kernels(qkv) || !stored(qkv) || qkv.dim() != 3 || qkv.numel() == 0 || qkv.size(2) % (3 * heads))
    return std::nullopt;
  const bool normalizes = q_weight.defined() || k_weight.defined();
  if (!normalizes && !given.cos.defined()) {
    const auto [q, k, v] = reference_split(qkv, q_weight, k_weight, heads, eps, {});
    return mix(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        .transpose(1, 2)
        .reshape({qkv.size(0), qkv.size(1), qkv.size(2) / 3});
  }
  if (normalizes && (!q_weight.defined() || !k_weight.defined() || !stored(q_weight) ||
                     q_weight.scalar_type() != k_weight.scalar_type() || q_weight.device() != qkv.device() ||
                     k_weight.device() != qkv.device() || q_weight.dim() != 1 || q_weight.sizes() != k_weight.sizes() ||
                     qkv.size(2) != 3 * heads * q_weight.size(0)))
    return std::nullopt;
  if (autocasts(qkv) && qkv.scalar_type() != at::kBFloat16) return std::nullopt;
  const auto table = [](const Tensor& t) { return t.defined() ? t.detach().to(at::kFloat).contiguous() : t; };
  const Rotation rotation{table(given.cos), table(given.sin)};
  if (rotation.cos.defined() && rotation.cos.device() != qkv.device()) return std::nullopt;
  Split split(qkv, q_weight, k_weight, rotation, heads);
  if (!split.fits() || !split.kernels.load()) return std::nullopt;
  const auto parts = SplitNormalized::apply(qkv.contiguous(), if_defined(q_weight), if_defined(k_weight),
                                            if_defined(rotation.cos), if_defined(rotation.sin), heads, eps);
  const Tensor q = parts[0].transpose(1, 2), k = parts[1].transpose(1, 2), v = parts[2].transpose(1, 2);
  return mix(q, k, v).transpose(1, 2).reshape({split.batch, split.tokens, split.hidden()});
}

}  // namespace sp::device
