// Functions that tch does not bind, for CPU and CUDA alike. Only torch_cpu and c10 are linked, so that a machine
// without CUDA starts fast; CUDA is reached through the dispatcher and c10's virtual interfaces.
//
// Every function returns 0 (or a non-null pointer) on success. On failure sp_take_error returns the message, except
// that sp_call returns 1 for arguments that the operator does not take, and sp_refusal says which.
// Nothing may unwind into Rust.
#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_foreach_sub.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <c10/core/AutogradState.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Backtrace.h>
#include <c10/util/Logging.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <typeinfo>
#include <vector>

#include "cublaslt.h"
#include "device.h"
#include "fused.h"
#include "graph.h"
#include "bf16_weights.h"
#include "launch.h"
#include "memory.h"
#include "ranks.h"
#include "recompute.h"
#include "flops.h"
#include "trace.h"

using at::Tensor;

static thread_local std::string last_error;

// Why an operator does not take its arguments. The reasons have the same numbers in Rust.
enum Reason { TYPE, UNPASSABLE, UNKNOWN, TOO_MANY, TOO_MANY_BY_POSITION, TWICE, MISSING };
struct Refused {
  int32_t reason;
  std::string name;      // the argument
  std::string expected;  // its type in the schema
  int64_t found;         // tag of the value, or number of arguments
  int64_t count;         // number of arguments that the operator takes
};
struct Unfit {
  int32_t reason;
  const char* name;
  const char* expected;
  int64_t found;
  int64_t count;
};
static thread_local Refused last_refusal;
static const int REFUSED = 1;

template <class F>
static int guarded(F&& body) {
  try {
    body();
    return 0;
  } catch (const Refused& refused) {
    last_refusal = refused;
    return REFUSED;
  } catch (const c10::Error& e) {
    last_error = e.what_without_backtrace();
  } catch (const std::exception& e) {
    last_error = e.what();
  } catch (...) {
    last_error = "unknown C++ exception";
  }
  return -1;
}

template <class F>
static Tensor* made(F&& body) {
  Tensor* result = nullptr;
  guarded([&] { result = new Tensor(body()); });
  return result;
}

static char* copy(const std::string& text) { return strdup(text.c_str()); }

// Script value passed to or from Rust; lists borrow their entries for the length of the call.
enum Tag { NONE, TENSOR, INT, FLOAT, BOOL, STRING, LIST, GENERATOR };
struct Value {
  int32_t tag;
  int64_t integer;
  double number;
  void* pointer;  // Tensor*, const char*, const Value* or Generator*
  int64_t length;
};

// ------------------------------------------------------------------ values to and from IValue
static at::ScalarType dtype_named(const std::string& name) {
  static const std::pair<const char*, at::ScalarType> names[] = {{"float32", at::kFloat},
                                                                 {"float64", at::kDouble},
                                                                 {"float16", at::kHalf},
                                                                 {"bfloat16", at::kBFloat16},
                                                                 {"int64", at::kLong},
                                                                 {"int32", at::kInt},
                                                                 {"int16", at::kShort},
                                                                 {"int8", at::kChar},
                                                                 {"uint8", at::kByte},
                                                                 {"bool", at::kBool},
                                                                 {"complex64", at::kComplexFloat},
                                                                 {"complex128", at::kComplexDouble}};
  for (const auto& [known, type] : names)
    if (name == known) return type;
  TORCH_CHECK(false, "unknown dtype \"", name, "\"");
}

// Returns a number as PyTorch passes it for a tensor: exact, but without a say in the dtype of a result of tensors of
// its kind.
static Tensor wrapped(const at::Scalar& number) {
  Tensor made = at::scalar_tensor(number, number.type());
  made.unsafeGetTensorImpl()->set_wrapped_number(true);
  return made;
}

static c10::IValue convert(const Value& v, const c10::TypePtr& type, const c10::TypePtr& real,
                           const std::string& name) {
  auto fail = [&]() -> c10::IValue { throw Refused{TYPE, name, type->str(), v.tag, 0}; };
  const auto* entries = static_cast<const Value*>(v.pointer);
  switch (type->kind()) {
    case c10::TypeKind::OptionalType: {
      if (v.tag == NONE) return {};
      auto inner = type->castRaw<c10::OptionalType>()->getElementType();
      auto inner_real =
          real->kind() == c10::TypeKind::OptionalType ? real->castRaw<c10::OptionalType>()->getElementType() : inner;
      return convert(v, inner, inner_real, name);
    }
    case c10::TypeKind::TensorType:
      if (v.tag == TENSOR) return *static_cast<Tensor*>(v.pointer);
      if (v.tag == INT) return wrapped(v.integer);
      if (v.tag == FLOAT) return wrapped(v.number);
      return fail();
    case c10::TypeKind::IntType:
      if (v.tag == INT) return v.integer;
      if (v.tag == BOOL) return int64_t(v.integer);
      if (v.tag == STRING && real->kind() == c10::TypeKind::ScalarTypeType)
        return int64_t(dtype_named(static_cast<const char*>(v.pointer)));
      return fail();
    case c10::TypeKind::FloatType:
      if (v.tag == FLOAT) return v.number;
      if (v.tag == INT) return double(v.integer);
      return fail();
    case c10::TypeKind::NumberType:
      if (v.tag == FLOAT) return v.number;
      if (v.tag == INT) return v.integer;
      if (v.tag == BOOL) return v.integer != 0;
      return fail();
    case c10::TypeKind::BoolType:
      return v.tag == BOOL ? c10::IValue(v.integer != 0) : fail();
    case c10::TypeKind::StringType:
      return v.tag == STRING ? c10::IValue(std::string(static_cast<const char*>(v.pointer))) : fail();
    case c10::TypeKind::DeviceObjType:
      return v.tag == STRING ? c10::IValue(c10::Device(static_cast<const char*>(v.pointer))) : fail();
    case c10::TypeKind::GeneratorType:
      return v.tag == GENERATOR ? c10::IValue(*static_cast<at::Generator*>(v.pointer)) : fail();
    case c10::TypeKind::ListType: {
      auto element = type->castRaw<c10::ListType>()->getElementType();
      auto element_real =
          real->kind() == c10::TypeKind::ListType ? real->castRaw<c10::ListType>()->getElementType() : element;
      c10::impl::GenericList list(element);
      if (v.tag == LIST) {
        for (int64_t i = 0; i < v.length; ++i) list.push_back(convert(entries[i], element, element_real, name));
      } else {
        list.push_back(convert(v, element, element_real, name));  // int[1] takes a lone integer, as in Python
      }
      return list;
    }
    default:
      throw Refused{UNPASSABLE, name, type->str(), v.tag, 0};
  }
}

typedef void (*Emit)(void* sink, const Value* value);

static void emit(const c10::IValue& v, Emit sink_fn, void* sink) {
  Value out{NONE, 0, 0, nullptr, 0};
  std::string text;
  std::vector<Value> entries;
  if (v.isTensor()) {
    out.tag = TENSOR;
    out.pointer = new Tensor(v.toTensor());
  } else if (v.isInt()) {
    out.tag = INT;
    out.integer = v.toInt();
  } else if (v.isDouble()) {
    out.tag = FLOAT;
    out.number = v.toDouble();
  } else if (v.isBool()) {
    out.tag = BOOL;
    out.integer = v.toBool();
  } else if (v.isString()) {
    text = v.toStringRef();
    out.tag = STRING;
    out.pointer = text.data();
  } else if (v.isList()) {
    out.tag = LIST;
    struct Collect {
      static void one(void* all, const Value* value) { static_cast<std::vector<Value>*>(all)->push_back(*value); }
    };
    for (const c10::IValue& entry : v.toListRef()) emit(entry, Collect::one, &entries);
    out.pointer = entries.data();
    out.length = int64_t(entries.size());
  } else if (!v.isNone()) {
    TORCH_CHECK(false, "the operator returns a ", v.tagKind(), ", which scripts cannot hold");
  }
  sink_fn(sink, &out);
}

// ------------------------------------------------------------------ interrupts within a call
// Allocates from the cache of memory.h, and refuses on a thread whose flag is set. Almost every operator allocates
// its result, so a forward or a backward pass stops within one operator; the error unwinds through libtorch like an
// out-of-memory error. Threads that watch no flag, such as libtorch's own, are never refused.
struct Interruptible final : c10::Allocator {
  c10::Allocator* earlier;
  explicit Interruptible(c10::Allocator* earlier) : earlier(earlier) {}
  at::DataPtr allocate(size_t n) override {
    if (is_raised()) refuse();
    if (n == 0) return earlier->allocate(n);
    void* data = sp::take(n);
    return {data, data, sp::give_back, at::Device(at::kCPU)};
  }
  at::DeleterFnPtr raw_deleter() const override { return sp::give_back; }
  void copy_data(void* to, const void* from, size_t n) const override { earlier->copy_data(to, from, n); }
  bool is_simple_data_ptr(const at::DataPtr& data) const override { return earlier->is_simple_data_ptr(data); }
  bool is_raised() {
    const uint8_t* flag = watched();
    return flag && __atomic_load_n(flag, __ATOMIC_RELAXED);
  }
  // Virtual, because a second copy of this library in the process shares the first one's flag.
  virtual const uint8_t*& watched() {
    static thread_local const uint8_t* flag = nullptr;
    return flag;
  }
  // Whether memory was refused on this thread; shared with copies of this library like the flag.
  virtual bool& refused() {
    static thread_local bool refused = false;
    return refused;
  }
  [[noreturn]] void refuse() {
    refused() = true;
    TORCH_CHECK(false, "interrupted");
  }
};

// Installed once and never freed: tensors keep pointers to it.
static Interruptible* interruptible() {
  static Interruptible* installed = [] {
    auto* earlier = c10::GetCPUAllocator();
    if (std::strcmp(typeid(*earlier).name(), typeid(Interruptible).name()) == 0)
      return static_cast<Interruptible*>(earlier);
    auto* own = new Interruptible(earlier);
    c10::SetCPUAllocator(own, 1);
    return own;
  }();
  return installed;
}

// Keeps each warning of this thread once, however often libtorch repeats it.
struct KeptWarnings final : c10::WarningHandler {
  void process(const c10::Warning& warning) override {
    if (said.insert(warning.msg()).second) waiting.push_back(warning.msg());
  }
  std::set<std::string> said;
  std::deque<std::string> waiting;
};

static KeptWarnings* kept_warnings() {
  static thread_local KeptWarnings kept;
  return &kept;
}

extern "C" {

// Sets the flag that this thread watches, or null for none; returns the previous one.
const uint8_t* sp_watch(const uint8_t* flag) { return std::exchange(interruptible()->watched(), flag); }
// Returns the flag that this thread watches, or null.
const uint8_t* sp_watched() { return interruptible()->watched(); }
// Returns whether the flag that this thread watches is set.
int sp_raised() { return interruptible()->is_raised(); }

// Returns whether memory was refused on this thread because of the flag, and forgets it.
int sp_take_refused() { return std::exchange(interruptible()->refused(), false); }

char* sp_take_error() { return copy(last_error); }
// Reads why the arguments of the last call were refused; the texts stay valid until the next call on this thread.
void sp_refusal(Unfit* out) {
  const Refused& r = last_refusal;
  *out = {r.reason, r.name.c_str(), r.expected.c_str(), r.found, r.count};
}
void sp_free_text(char* text) { free(text); }

// Without this fetcher an error message carries a C++ stack trace and costs milliseconds; it is set once, since other
// threads may be using it. Callbacks in a backward pass must stay on the thread that started it.
void sp_start() {
  static const bool prepared = [] {
    c10::SetStackTraceFetcher([]() -> std::string { return std::string(); });
    return interruptible() != nullptr;
  }();
  (void)prepared;
  c10::AutogradState::get_tls_state().set_multithreading_enabled(false);
}
// The launcher is installed last, and once per process; the flag belongs to the thread.
int sp_is_started() { return sp::has_launcher() && !c10::AutogradState::get_tls_state().get_multithreading_enabled(); }

// ------------------------------------------------------------------ any ATen operator by name
// `names[i]` is null for a positional argument; missing arguments take the defaults of the schema.
int sp_call(const char* op, const char* overload, const Value* values, const char* const* names, int64_t count,
            Emit sink_fn, void* sink) {
  return guarded([&] {
    auto handle = c10::Dispatcher::singleton().findSchemaOrThrow(op, overload);
    const auto& arguments = handle.schema().arguments();
    std::vector<const Value*> given(arguments.size(), nullptr);
    size_t position = 0;
    for (int64_t i = 0; i < count; ++i) {
      size_t slot = position;
      if (names[i]) {
        for (slot = 0; slot < arguments.size() && arguments[slot].name() != names[i];) ++slot;
        if (slot == arguments.size()) throw Refused{UNKNOWN, names[i], "", 0, 0};
      } else {
        if (slot >= arguments.size()) throw Refused{TOO_MANY, "", "", count, int64_t(arguments.size())};
        if (arguments[slot].kwarg_only()) throw Refused{TOO_MANY_BY_POSITION, "", "", count, int64_t(slot)};
        ++position;
      }
      if (given[slot]) throw Refused{TWICE, arguments[slot].name(), "", 0, 0};
      given[slot] = &values[i];
    }
    torch::jit::Stack stack;
    for (size_t i = 0; i < arguments.size(); ++i) {
      const auto& argument = arguments[i];
      if (given[i]) {
        stack.push_back(convert(*given[i], argument.type(), argument.real_type(), argument.name()));
      } else {
        if (!argument.default_value()) throw Refused{MISSING, argument.name(), "", 0, 0};
        stack.push_back(*argument.default_value());
      }
    }
    // Operators that write to many tensors at once do not increment the versions of these tensors.
    std::vector<Tensor> written;
    for (size_t i = 0; i < arguments.size(); ++i)
      if (arguments[i].alias_info() && arguments[i].alias_info()->isWrite() && stack[i].isTensorList())
        for (const Tensor& t : stack[i].toTensorVector()) written.push_back(t);
    handle.callBoxed(stack);
    sp::changed(written);
    for (const auto& result : stack) emit(result, sink_fn, sink);
  });
}

// Returns the schemas of all overloads of `op`, one per line; empty if there is no such operator.
char* sp_schemas(const char* op) {
  char* result = nullptr;
  guarded([&] {
    std::ostringstream lines;
    for (const auto& name : c10::Dispatcher::singleton().getAllOpNames())
      if (name.name == op)
        if (auto handle = c10::Dispatcher::singleton().findSchema(name)) lines << handle->schema() << "\n";
    result = copy(lines.str());
  });
  return result;
}

// Returns the names of all operators in namespace aten, one per line; a name repeats for each of its overloads.
char* sp_operator_names() {
  char* result = nullptr;
  guarded([&] {
    std::ostringstream lines;
    for (const auto& name : c10::Dispatcher::singleton().getAllOpNames())
      if (name.name.rfind("aten::", 0) == 0) lines << name.name << "\n";
    result = copy(lines.str());
  });
  return result;
}

// ------------------------------------------------------------------ autograd
int sp_backward(Tensor* t, Tensor* gradient, int retain, int create) {
  return guarded([&] { t->backward(gradient ? *gradient : Tensor(), bool(retain), bool(create)); });
}

// Takes ownership of the code.
Tensor* sp_recomputed(Tensor** inputs, int64_t count, const sp::CodeOfRust* code) {
  return made([&] {
    std::vector<Tensor> list;
    for (int64_t i = 0; i < count; ++i) list.push_back(*inputs[i]);
    return sp::recomputed(*code, list);
  });
}
void sp_set_tensor(Tensor* to, const Tensor* from) { *to = *from; }

// The gradient of an unused input is undefined and stored as a null pointer.
int sp_grad(Tensor** outs, int64_t out_count, Tensor** out_grads, Tensor** ins, int64_t in_count, Tensor** results,
            int retain, int create) {
  return guarded([&] {
    std::vector<Tensor> o, g, x;
    for (int64_t i = 0; i < out_count; ++i) {
      o.push_back(*outs[i]);
      g.push_back(out_grads && out_grads[i] ? *out_grads[i] : Tensor());
    }
    for (int64_t i = 0; i < in_count; ++i) x.push_back(*ins[i]);
    auto grads = torch::autograd::grad(o, x, g, bool(retain), bool(create), true);
    for (int64_t i = 0; i < in_count; ++i) results[i] = grads[i].defined() ? new Tensor(grads[i]) : nullptr;
  });
}

// ------------------------------------------------------------------ many tensors at once
static std::vector<Tensor> list(Tensor** from, int64_t count) {
  std::vector<Tensor> result;
  result.reserve(size_t(count));
  for (int64_t i = 0; i < count; ++i) result.push_back(*from[i]);
  return result;
}

// Fused AdamW on optimizer state that we own. Gradients are first divided by `scale`; if `skip` is 1, nothing
// changes. Both may be null.
int sp_fused_adamw(Tensor** params, Tensor** grads, Tensor** first, Tensor** second, Tensor** steps, int64_t count,
                   double lr, double beta1, double beta2, double weight_decay, double eps, Tensor* scale,
                   Tensor* skip) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto p = list(params, count), g = list(grads, count), m = list(first, count), v = list(second, count);
    auto s = list(steps, count);
    if (s.empty()) return;
    at::_foreach_add_(s, 1);
    at::_fused_adamw_(p, g, m, v, {}, s, lr, beta1, beta2, weight_decay, eps, false, false,
                      scale ? std::optional<Tensor>(*scale) : std::nullopt,
                      skip ? std::optional<Tensor>(*skip) : std::nullopt);
    if (skip) at::_foreach_sub_(s, std::vector<Tensor>(s.size(), *skip));
    sp::changed(p);
    sp::refresh_bf16_weights(p);
  });
}
// Returns the Euclidean norm of all elements of all tensors, a scalar.
Tensor* sp_global_norm(Tensor** tensors, int64_t count) {
  Tensor* result = nullptr;
  guarded([&] {
    at::NoGradGuard no_grad;
    result = new Tensor(at::linalg_vector_norm(at::stack(at::_foreach_norm(list(tensors, count)))));
  });
  return result;
}
int sp_foreach_mul(Tensor** tensors, int64_t count, Tensor* factor) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    const auto all = list(tensors, count);
    at::_foreach_mul_(all, *factor);
    sp::changed(all);
  });
}
int sp_foreach_lerp(Tensor** tensors, Tensor** ends, int64_t count, double weight) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    const auto all = list(tensors, count);
    at::_foreach_lerp_(all, list(ends, count), weight);
    sp::changed(all);
  });
}
int sp_clear_grads(Tensor** tensors, int64_t count) {
  return guarded([&] {
    for (int64_t i = 0; i < count; ++i) tensors[i]->mutable_grad().reset();
  });
}

// ------------------------------------------------------------------ fused operators
// Counting floating-point operations on this thread.
int sp_count_flops(int on) { return sp::count_flops(on != 0); }
double sp_flops() { return sp::flops(); }
void sp_set_flops(double value) { sp::set_flops(value); }

int sp_switch_fused(int on) { return sp::switch_fused(on != 0); }
const char* sp_cpu_operators() { return sp::cpu_operators(); }

int sp_has_launcher() { return sp::has_launcher(); }
void sp_install_launcher(const sp::Launcher* launcher) { sp::install_launcher(*launcher); }
const sp::Launcher* sp_emulate(const sp::Launcher* launcher) { return sp::emulate(launcher); }
int64_t sp_kernels_started() { return sp::started(); }
// Returns the attention benchmarks so far, one shape per line.
char* sp_attention_choices() { return copy(sp::device::choices()); }
// Returns the same for the products of cuBLASLt.
char* sp_product_choices() { return copy(sp::cublaslt::choices()); }

Tensor* sp_norm_modulate(Tensor* x, Tensor* shift, Tensor* scale, int centered) {
  return made([&] { return sp::norm_modulate(*x, *shift, *scale, centered); });
}
// m and gate are null without a residual. Returns the stream, and the norm in `y`.
Tensor* sp_stream_norm(Tensor* x, Tensor* m, Tensor* gate, Tensor* shift, Tensor* scale, int centered, Tensor** y) {
  return made([&] {
    auto both = sp::stream_norm(*x, m ? *m : Tensor(), gate ? *gate : Tensor(), *shift, *scale, centered);
    *y = new Tensor(std::move(both.y));
    return both.x;
  });
}
Tensor* sp_gated_add(Tensor* x, Tensor* m, Tensor* gate) {
  return made([&] { return sp::gated_add(*x, *m, *gate); });
}
// Corrections. The gains of a filter without gains are null.
struct Corrections {
  Tensor **coefficients, **matrices, **gains;
  int64_t count;
};
static std::vector<sp::Correction> listed(Corrections given) {
  std::vector<sp::Correction> all;
  for (int64_t k = 0; k < given.count; ++k) {
    sp::Correction c{*given.coefficients[k], {}};
    for (int64_t bands = c.coefficients.size(1); bands > 1; --bands, ++given.matrices, ++given.gains)
      c.filters.push_back({**given.matrices, *given.gains ? **given.gains : Tensor()});
    all.push_back(std::move(c));
  }
  return all;
}
// x and gate are null for 0 and 1.
Tensor* sp_gated_add_corrected(Tensor* x, Tensor* m, Tensor* gate, Corrections all) {
  return made([&] { return sp::gated_add_corrected(x ? *x : Tensor(), *m, gate ? *gate : Tensor(), listed(all)); });
}
Tensor* sp_norm_modulate_corrected(Tensor* x, Tensor* shift, Tensor* scale, int centered, Corrections all) {
  return made([&] { return sp::norm_modulate_corrected(*x, *shift, *scale, centered, listed(all)); });
}
Tensor* sp_stream_corrected(Tensor* x, Tensor* m, Tensor* gate, Corrections all) {
  return made([&] { return sp::stream_corrected(*x, *m, *gate, listed(all)); });
}
// Both weights are null without a norm.
Tensor* sp_attend(Tensor* qkv, Tensor* q_weight, Tensor* k_weight, Tensor* cos, Tensor* sin, int64_t heads,
                  double eps) {
  const auto given = [](const Tensor* t) { return t ? *t : Tensor(); };
  return made([&] { return sp::attend(*qkv, given(q_weight), given(k_weight), heads, eps, {given(cos), given(sin)}); });
}
Tensor* sp_mlp(Tensor* x, Tensor* w1, Tensor* b1, Tensor* w2, Tensor* b2) {
  return made([&] { return sp::mlp(*x, *w1, *b1, *w2, *b2); });
}
Tensor* sp_gelu(Tensor* x) {
  return made([&] { return sp::gelu(*x); });
}
Tensor* sp_gate(Tensor* c, Tensor* w1, Tensor* b1, Tensor* w2, Tensor* b2, double scale) {
  return made([&] { return sp::gate(*c, *w1, *b1, *w2, *b2, scale); });
}
Tensor* sp_linear(Tensor* x, Tensor* weight, Tensor* bias) {
  return made([&] { return sp::linear(*x, *weight, *bias); });
}

// ------------------------------------------------------------------ graphs
// A graph records until it ends; freeing it earlier also ends it. `wait` waits for the work on the side stream.
int sp_has_recorder(const char* device) {
  int found = 0;
  guarded([&] { found = sp::has_recorder(at::Device(device)); });
  return found;
}
const void* sp_emulate_graphs(const void* recorder) {
  return sp::emulate_graphs(static_cast<const sp::Recorder*>(recorder));
}
const char* sp_graph_symbols() { return sp::graph_symbols(); }
sp::SideStream* sp_side_stream(const char* device) {
  sp::SideStream* result = nullptr;
  guarded([&] { result = new sp::SideStream(at::Device(device)); });
  return result;
}
int sp_side_stream_wait(sp::SideStream* side_stream) {
  return guarded([&] { side_stream->wait(); });
}
void sp_side_stream_free(sp::SideStream* side_stream) {
  guarded([&] { delete side_stream; });
}
sp::Graph* sp_graph(const char* device) {
  sp::Graph* result = nullptr;
  guarded([&] { result = new sp::Graph(at::Device(device)); });
  return result;
}
int sp_graph_end(sp::Graph* graph) {
  return guarded([&] { graph->end(); });
}
int sp_graph_replay(const sp::Graph* graph) {
  return guarded([&] { graph->replay(); });
}
void sp_graph_free(sp::Graph* graph) { delete graph; }
// Updates the copies of weights; writes the address of each weight and of its copy, which may be null.
int sp_renew_bf16_weights(Tensor** weights, int64_t count, const void** addresses) {
  return guarded([&] {
    const auto all = list(weights, count);
    const auto copies = sp::renew_bf16_weights(all);
    for (size_t i = 0; i < all.size(); ++i) {
      addresses[2 * i] = all[i].const_data_ptr();
      addresses[2 * i + 1] = copies[i];
    }
  });
}
int sp_autocasts(const char* device) {
  int on = 0;
  guarded([&] { on = at::autocast::is_autocast_enabled(at::Device(device).type()); });
  return on;
}
// Keeps the warnings of libtorch on this thread, or prints them as libtorch does.
void sp_keep_warnings(int keep) { c10::WarningUtils::set_warning_handler(keep ? kept_warnings() : nullptr); }
// Returns the next kept warning of this thread, or null if there is none.
char* sp_take_warning() {
  auto& waiting = kept_warnings()->waiting;
  if (waiting.empty()) return nullptr;
  char* text = copy(waiting.front());
  waiting.pop_front();
  return text;
}
// Issues a warning, once for each text.
void sp_warn_once(const char* text) {
  static std::mutex mutex;
  static auto& said = *new std::set<std::string>();
  guarded([&] {
    const std::lock_guard<std::mutex> lock(mutex);
    if (said.insert(text).second) TORCH_WARN(text);
  });
}

// ------------------------------------------------------------------ ranks
sp::Store* sp_open_store(const char* host, int port, int server, const char* prefix, int64_t timeout_ms) {
  sp::Store* result = nullptr;
  guarded([&] { result = sp::open_store(host, port, server != 0, prefix, timeout_ms); });
  return result;
}
int sp_store_port(const sp::Store* store) { return sp::store_port(*store); }
int sp_store_set(sp::Store* store, const char* key, const char* value) {
  return guarded([&] { sp::store_set(*store, key, value); });
}
char* sp_store_get(sp::Store* store, const char* key, int64_t timeout_ms) {
  char* result = nullptr;
  guarded([&] { result = copy(sp::store_get(*store, key, timeout_ms)); });
  return result;
}
void sp_free_store(sp::Store* store) {
  guarded([&] { sp::free_store(store); });
}
sp::Group* sp_open_group(sp::Store* store, int rank, int size, const char* address, const char* interface,
                         int64_t timeout_ms) {
  sp::Group* result = nullptr;
  guarded([&] { result = sp::open_group(*store, rank, size, address, interface, timeout_ms); });
  return result;
}
void sp_free_group(sp::Group* group) {
  guarded([&] { sp::free_group(group); });
}
sp::Work* sp_start_sum(sp::Group* group, Tensor* tensor) {
  sp::Work* result = nullptr;
  guarded([&] { result = sp::start_sum(*group, *tensor); });
  return result;
}
sp::Work* sp_start_broadcast(sp::Group* group, Tensor* tensor, int root) {
  sp::Work* result = nullptr;
  guarded([&] { result = sp::start_broadcast(*group, *tensor, root); });
  return result;
}
sp::Work* sp_start_gather(sp::Group* group, Tensor* output, Tensor* input) {
  sp::Work* result = nullptr;
  guarded([&] { result = sp::start_gather(*group, *output, *input); });
  return result;
}
sp::Work* sp_start_exchange(sp::Group* group, Tensor* output, Tensor* input) {
  sp::Work* result = nullptr;
  guarded([&] { result = sp::start_exchange(*group, *output, *input); });
  return result;
}
// Returns 1 if the work is done, 0 if it is not yet, -1 if it failed.
int sp_wait_for(sp::Work* work, int64_t milliseconds) {
  bool done = false;
  const int failed = guarded([&] { done = sp::wait_for(*work, milliseconds); });
  return failed ? failed : int(done);
}
void sp_free_work(sp::Work* work) {
  guarded([&] { sp::free_work(work); });
}

// Writes the current stream of a device as a handle of its own library.
int sp_native_stream(const char* device, void** stream) {
  return guarded([&] {
    const at::Device where(device);
    const c10::impl::VirtualGuardImpl guard(where.type());
    *stream = guard.getStreamNativeHandle(guard.getStream(where));
  });
}
// Makes a CUDA device the current one of this thread, and writes the previous one.
int sp_exchange_device(int device, int* earlier) {
  return guarded([&] {
    const c10::impl::VirtualGuardImpl guard(at::kCUDA);
    *earlier = guard.exchangeDevice(at::Device(at::kCUDA, c10::DeviceIndex(device))).index();
  });
}

// ------------------------------------------------------------------ random numbers
at::Generator* sp_generator(const char* device, uint64_t seed) {
  at::Generator* result = nullptr;
  guarded([&] {
    const auto& shared = at::globalContext().defaultGenerator(at::Device(device));
    auto own = shared.clone();
    own.set_current_seed(seed);
    result = new at::Generator(own);
  });
  return result;
}
void sp_generator_free(at::Generator* generator) { delete generator; }
// Null selects the device's default generator.
static at::Generator pick(at::Generator* generator, const char* device) {
  return generator ? *generator : at::globalContext().defaultGenerator(at::Device(device));
}
Tensor* sp_generator_state(at::Generator* generator, const char* device) {
  Tensor* result = nullptr;
  guarded([&] {
    auto g = pick(generator, device);
    std::lock_guard<std::mutex> lock(g.mutex());
    result = new Tensor(g.get_state());
  });
  return result;
}
int sp_generator_restore(at::Generator* generator, const char* device, Tensor* state) {
  return guarded([&] {
    auto g = pick(generator, device);
    std::lock_guard<std::mutex> lock(g.mutex());
    g.set_state(*state);
  });
}

// ------------------------------------------------------------------ modes
int sp_set_deterministic(int on) {
  return guarded([&] {
    at::globalContext().setDeterministicAlgorithms(on, true);
    at::globalContext().setDeterministicCuDNN(on);
    // cuDNN's attention has no deterministic gradient in the mode that only warns; see attention_twice.cpp for others.
    at::globalContext().setSDPUseCuDNN(!on);
  });
}
int sp_set_tf32(int on) {
  return guarded([&] {
    at::globalContext().setAllowTF32CuBLAS(on);
    at::globalContext().setAllowTF32CuDNN(on);
  });
}
// Autocast to bfloat16 for a device type; pairs of enter and leave nest. `earlier` takes what the type had before,
// whether it was on and its dtype, which leaving restores: the depth counts all types together.
int sp_autocast_enter(int cuda, int on, int* earlier) {
  return guarded([&] {
    auto device = cuda ? at::kCUDA : at::kCPU;
    earlier[0] = at::autocast::is_autocast_enabled(device);
    earlier[1] = int(at::autocast::get_autocast_dtype(device));
    at::autocast::increment_nesting();
    at::autocast::set_autocast_dtype(device, at::kBFloat16);
    at::autocast::set_autocast_enabled(device, on != 0);
  });
}
int sp_autocast_leave(int cuda, const int* earlier) {
  return guarded([&] {
    auto device = cuda ? at::kCUDA : at::kCPU;
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device, earlier[0]);
    at::autocast::set_autocast_dtype(device, at::ScalarType(earlier[1]));
  });
}
// Waits until a CUDA device has finished all work.
int sp_synchronize(int device) {
  return guarded([&] { c10::impl::VirtualGuardImpl(at::kCUDA).synchronizeDevice(c10::DeviceIndex(device)); });
}
// Returns the bytes of CPU memory cached for future tensors.
int64_t sp_kept() { return int64_t(sp::kept()); }
int sp_trace_start(int cuda) {
  return guarded([&] { sp::start_trace(cuda != 0); });
}
int sp_trace_stop(const char* path) {
  return guarded([&] { sp::stop_trace(path); });
}
// Sets the peaks of an accelerator to what is in use now.
int sp_reset_memory_peak(int device) {
  return guarded([&] {
    if (at::getDeviceAllocator(at::kCUDA)->initialized()) at::accelerator::resetPeakStats(c10::DeviceIndex(device));
  });
}
// Bytes on an accelerator: allocated now, allocated peak, reserved now, reserved peak.
int sp_memory(int device, int64_t* out) {
  return guarded([&] {
    std::fill(out, out + 4, 0);
    // Before the first tensor, the allocator takes no question.
    if (!at::getDeviceAllocator(at::kCUDA)->initialized()) return;
    auto stats = at::accelerator::getDeviceStats(c10::DeviceIndex(device));
    out[0] = stats.allocated_bytes[0].current;
    out[1] = stats.allocated_bytes[0].peak;
    out[2] = stats.reserved_bytes[0].current;
    out[3] = stats.reserved_bytes[0].peak;
  });
}
}

#if defined(__linux__) && defined(__GLIBC__) && defined(__x86_64__)
// Since glibc 2.35 hypot has a new version that only differs in how it reports errors. The linker redirects calls
// of it here (see build.rs), so that binaries built here run on older systems.
extern "C" double older_hypot(double x, double y);
__asm__(".symver older_hypot,hypot@GLIBC_2.2.5");
extern "C" double __wrap_hypot(double x, double y) { return older_hypot(x, y); }
#endif
