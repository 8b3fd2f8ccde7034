// A recorder of graphs for tensors on the CPU, in place of CUDA's. It notes every operator below autograd and every kernel
// that is started, with the memory that they read and write. A replay does that again and runs no other code: what the
// host computed while recording stays as it was then, as on CUDA. What may not be recorded there fails here, too.
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <functional>
#include <vector>

#include "../../src/torch/shim/graph.h"

namespace {

using Step = std::function<void()>;
using torch::jit::Stack;

struct Recording {
  std::vector<Step> steps;
  std::unique_ptr<c10::impl::IncludeDispatchKeyGuard> noting;
};

thread_local Recording* current = nullptr;
thread_local int depth = 0;
thread_local int64_t replays = 0;

struct Deeper {
  Deeper() { ++depth; }
  ~Deeper() { --depth; }
};

bool starts(const std::string& text, std::initializer_list<const char*> with) {
  for (const char* word : with)
    if (text.rfind(std::string("aten::") + word, 0) == 0) return true;
  return false;
}

// What makes the host wait for the device, or draws from a generator that is not the device's own.
void check(const std::string& name) {
  TORCH_CHECK(!starts(name, {"_local_scalar_dense", "item", "equal", "is_nonzero", "nonzero", "rand", "normal", "uniform",
                             "bernoulli"}),
              "operation not permitted while a graph is recorded: ", name);
}

void give(const c10::IValue& to, const c10::IValue& from) {
  if (to.isTensor()) {
    const at::Tensor &own = to.toTensor(), &made = from.toTensor();
    // A view, or what was changed in place.
    if (!own.defined() || own.storage().data() == made.storage().data()) return;
    own.copy_(made);
  } else if (to.isTensorList()) {
    for (size_t i = 0; i < to.toListRef().size(); ++i) give(to.toListRef()[i], from.toListRef()[i]);
  } else {
    TORCH_CHECK(to.isNone() || to.isInt() || to.isSymInt() || to.isBool(), "a recorded operator gives a ", to.tagKind());
  }
}

void note(const c10::OperatorHandle& op, c10::DispatchKeySet keys, Stack* stack) {
  const auto below = keys & c10::DispatchKeySet(c10::DispatchKeySet::FULL_AFTER, c10::DispatchKey::Fake);
  check(op.schema().name());
  const Deeper one;
  if (!current || depth > 1) return op.redispatchBoxed(below, stack);
  const Stack given(stack->end() - int64_t(op.schema().arguments().size()), stack->end());
  op.redispatchBoxed(below, stack);
  const Stack made(stack->end() - int64_t(op.schema().returns().size()), stack->end());
  const bool only_memory = starts(op.schema().name(), {"empty", "new_empty"});
  current->steps.emplace_back([op, given, made, only_memory] {
    if (only_memory) return;
    Stack again = given;
    op.callBoxed(again);
    for (size_t i = 0; i < made.size(); ++i) give(made[i], again[i]);
  });
}

void* begin(const at::Device&) {
  TORCH_CHECK(!current, "a graph is being recorded already");
  current = new Recording();
  current->noting = std::make_unique<c10::impl::IncludeDispatchKeyGuard>(c10::DispatchKey::Fake);
  return current;
}
void end(void* recording) {
  TORCH_CHECK(recording == current, "this graph is not being recorded");
  current->noting.reset();
  current = nullptr;
}
void replay(void* recording) {
  const at::AutoDispatchBelowADInplaceOrView below;
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  ++replays;
  for (const Step& step : static_cast<Recording*>(recording)->steps) step();
}
void drop(void* recording) { delete static_cast<Recording*>(recording); }

const sp::Recorder RECORDER{begin, end, replay, drop};

}  // namespace

TORCH_LIBRARY_IMPL(_, Fake, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&note>()); }

extern "C" {
const void* recorder() { return &RECORDER; }
int64_t recorder_replays() { return replays; }
int recorder_records() { return current != nullptr; }
// Notes that a kernel was started; `run` starts it again, `drop` frees the state.
void recorder_note(void (*run)(void*), void (*drop)(void*), void* state) {
  const std::shared_ptr<void> kept(state, drop);
  if (current) current->steps.emplace_back([run, kept] { run(kept.get()); });
}
}
