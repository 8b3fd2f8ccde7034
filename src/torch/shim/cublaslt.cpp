// See cublaslt.h. Uses the library that libtorch's CUDA libraries have loaded. Its functions are looked up by name,
// and its constants are those of cublasLt.h, which does not change them within a major version.
#include "cublaslt.h"

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>

#include <array>
#include <chrono>
#include <map>
#include <mutex>
#include <sstream>

namespace sp::cublaslt {

namespace {

// ------------------------------------------------------------------ the library's interface
using Handle = struct OpaqueHandle*;
using Description = struct OpaqueDescription*;
using Layout = struct OpaqueLayout*;
using Preference = struct OpaquePreference*;

struct Algorithm {
  uint64_t data[8];
};
struct Found {
  Algorithm algorithm;
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};

constexpr int COMPUTE_32F = 68, REAL_32F = 0, REAL_16BF = 14, OP_N = 0, OP_T = 1;
constexpr int TRANSPOSE_A = 3, TRANSPOSE_B = 4, EPILOGUE = 7, BIAS = 8, AUX = 11, AUX_STRIDE = 12;
constexpr int WORKSPACE_BYTES = 1;
constexpr uint32_t GELU_AUX_BIAS = 164;

struct Library {
  int (*create)(Handle*);
  int (*describe)(Description*, int compute, int scale);
  int (*set)(Description, int attribute, const void*, size_t);
  int (*forget)(Description);
  int (*lay_out)(Layout*, int type, uint64_t rows, uint64_t columns, int64_t stride);
  int (*forget_layout)(Layout);
  int (*prefer)(Preference*);
  int (*set_preference)(Preference, int attribute, const void*, size_t);
  int (*forget_preference)(Preference);
  int (*heuristic)(Handle, Description, Layout, Layout, Layout, Layout, Preference, int wanted, Found*, int* count);
  int (*multiply)(Handle, Description, const void* alpha, const void* a, Layout, const void* b, Layout,
                  const void* beta, const void* c, Layout, void* d, Layout, const Algorithm*, void* workspace, size_t,
                  void* stream);
  bool complete = false;

  Library() {
    void* found = dlopen("libcublasLt.so.13", RTLD_NOW | RTLD_NOLOAD);
    if (!found) return;
    complete = true;
    auto look_up = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(found, name));
      complete = complete && function;
    };
    look_up(create, "cublasLtCreate");
    look_up(describe, "cublasLtMatmulDescCreate");
    look_up(set, "cublasLtMatmulDescSetAttribute");
    look_up(forget, "cublasLtMatmulDescDestroy");
    look_up(lay_out, "cublasLtMatrixLayoutCreate");
    look_up(forget_layout, "cublasLtMatrixLayoutDestroy");
    look_up(prefer, "cublasLtMatmulPreferenceCreate");
    look_up(set_preference, "cublasLtMatmulPreferenceSetAttribute");
    look_up(forget_preference, "cublasLtMatmulPreferenceDestroy");
    look_up(heuristic, "cublasLtMatmulAlgoGetHeuristic");
    look_up(multiply, "cublasLtMatmul");
  }
};

const Library& library() {
  static const Library& found = *new Library();
  return found;
}

// One handle per device, for the life of the process.
Handle handle(int device) {
  static auto& known = *new std::map<int, Handle>();
  auto& own = known[device];
  if (!own && library().create(&own)) own = nullptr;
  return own;
}

// ------------------------------------------------------------------ a product
// The library uses column-major matrices: a row-major [M, N] is its [N, M]. So h [n, m] = w^T [n, k] x [k, m] +
// bias.
struct Shape {
  uint64_t n, m, k;
};

struct Operands {
  const void *w, *x, *bias;
  void *h, *a;
};

constexpr size_t WORKSPACE = 32 << 20;

// Descriptors of a product, freed in the destructor.
struct Call {
  Description description = nullptr;
  Layout w = nullptr, x = nullptr, a = nullptr;
  bool good = true;

  Call(const Shape& s, const Operands& o) {
    const Library& lt = library();
    auto check = [&](int status) { good = good && status == 0; };
    auto set = [&](int attribute, const auto& value) {
      if (good) check(lt.set(description, attribute, &value, sizeof(value)));
    };
    check(lt.describe(&description, COMPUTE_32F, REAL_32F));
    set(TRANSPOSE_A, int32_t(OP_T));
    set(TRANSPOSE_B, int32_t(OP_N));
    set(EPILOGUE, GELU_AUX_BIAS);
    set(BIAS, o.bias);
    set(AUX, o.h);
    set(AUX_STRIDE, int64_t(s.n));
    if (good) check(lt.lay_out(&w, REAL_16BF, s.k, s.n, int64_t(s.k)));
    if (good) check(lt.lay_out(&x, REAL_16BF, s.k, s.m, int64_t(s.k)));
    if (good) check(lt.lay_out(&a, REAL_16BF, s.n, s.m, int64_t(s.n)));
  }
  ~Call() {
    const Library& lt = library();
    for (Layout layout : {w, x, a})
      if (layout) lt.forget_layout(layout);
    if (description) lt.forget(description);
  }
  int run(Handle handle, const Operands& o, const Algorithm& algorithm, void* workspace, void* stream) const {
    const float one = 1, zero = 0;
    return library().multiply(handle, description, &one, o.w, w, o.x, x, &zero, o.a, a, o.a, a, &algorithm, workspace,
                              WORKSPACE, stream);
  }
};

struct Choice {
  bool any;
  Algorithm algorithm;
  double milliseconds;
};
using Key = std::array<int64_t, 4>;  // device, n, m, k

std::mutex mutex;
auto& choices_made = *new std::map<Key, Choice>();

// Benchmarks the algorithms that the library proposes and keeps the fastest.
Choice measure(Handle handle, const Call& call, const Operands& operands, void* workspace, void* stream,
               const at::Device& device) {
  const Library& lt = library();
  Preference preference = nullptr;
  if (lt.prefer(&preference)) return {};
  const uint64_t bytes = WORKSPACE;
  constexpr int WANTED = 8;
  Found found[WANTED] = {};
  int count = 0;
  if (lt.set_preference(preference, WORKSPACE_BYTES, &bytes, sizeof(bytes)) ||
      lt.heuristic(handle, call.description, call.w, call.x, call.a, call.a, preference, WANTED, found, &count))
    count = 0;
  lt.forget_preference(preference);
  const c10::impl::VirtualGuardImpl cuda(at::kCUDA);
  Choice best{false, {}, 1e30};
  for (int i = 0; i < count; ++i) {
    if (found[i].state) continue;
    bool works = true;
    auto several = [&](int runs) {
      for (int run = 0; works && run < runs; ++run)
        works = call.run(handle, operands, found[i].algorithm, workspace, stream) == 0;
      cuda.synchronizeDevice(device.index());
    };
    several(1);
    // Deterministic mode uses the library's first proposal, since a benchmark may choose differently on each run.
    if (works && at::globalContext().deterministicAlgorithms()) return {true, found[i].algorithm, 0};
    const auto start = std::chrono::steady_clock::now();
    several(5);
    const double took = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count() / 5;
    if (works && took < best.milliseconds) best = {true, found[i].algorithm, took};
  }
  return best;
}

bool product(const Shape& shape, const Operands& operands, const Tensor& where) {
  if (!library().complete) return false;
  const c10::OptionalDeviceGuard guard(where.device());
  const c10::impl::VirtualGuardImpl cuda(at::kCUDA);
  const std::lock_guard<std::mutex> lock(mutex);
  const Handle own = handle(where.device().index());
  if (!own) return false;
  const Call call(shape, operands);
  if (!call.good) return false;
  const Tensor workspace = at::empty({int64_t(WORKSPACE)}, where.options().dtype(at::kByte));
  void* stream = cuda.getStreamNativeHandle(cuda.getStream(where.device()));
  const Key key{where.device().index(), int64_t(shape.n), int64_t(shape.m), int64_t(shape.k)};
  auto known = choices_made.find(key);
  if (known == choices_made.end())
    known = choices_made.emplace(key, measure(own, call, operands, workspace.data_ptr(), stream, where.device())).first;
  const Choice& choice = known->second;
  return choice.any && call.run(own, operands, choice.algorithm, workspace.data_ptr(), stream) == 0;
}

// The alignment that the library assumes when it chooses algorithms.
constexpr uintptr_t ALIGNMENT = 256;

bool takes(const Tensor& t) {
  return t.is_cuda() && t.scalar_type() == at::kBFloat16 && t.is_contiguous() && t.size(-1) % 8 == 0 &&
         reinterpret_cast<uintptr_t>(t.const_data_ptr()) % ALIGNMENT == 0;
}

}  // namespace

bool linear_gelu(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& h, const Tensor& a) {
  // When kernels are emulated on the CPU, libtorch's operators replace the library.
  if (x.is_cpu()) {
    h.copy_(at::addmm(bias, x, w.t()));
    a.copy_(at::gelu(h, "tanh"));
    return true;
  }
  for (const Tensor* t : {&x, &w, &bias, &h, &a})
    if (!takes(*t)) return false;
  const Shape shape{uint64_t(w.size(0)), uint64_t(x.size(0)), uint64_t(x.size(1))};
  return product(shape, {w.const_data_ptr(), x.const_data_ptr(), bias.const_data_ptr(), h.data_ptr(), a.data_ptr()}, x);
}

std::string choices() {
  const std::lock_guard<std::mutex> lock(mutex);
  std::ostringstream lines;
  lines.precision(3);
  for (const auto& [key, choice] : choices_made) {
    lines << "gelu [" << key[2] << ", " << key[1] << "] of " << key[3] << ": ";
    choice.any ? lines << choice.milliseconds << " ms\n" : lines << "none\n";
  }
  return lines.str();
}

}  // namespace sp::cublaslt
