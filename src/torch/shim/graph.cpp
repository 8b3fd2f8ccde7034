// See graph.h. Only libtorch's CPU libraries are linked, so the class that records on CUDA is reached through the
// symbols of its member functions in the CUDA library. On this platform they are plain functions that take the
// object first.
#include "graph.h"

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>

#include <array>
#include <atomic>
#include <memory>
#include <utility>

namespace sp {

namespace {

// ------------------------------------------------------------------ at::cuda::CUDAGraph
using Pool = std::pair<unsigned long long, unsigned long long>;

// Capture mode in which calls of other threads do not invalidate a recording.
constexpr int THREAD_LOCAL = 1;
// The object takes 104 bytes in libtorch 2.11.0.
constexpr size_t ROOM = 1024;

constexpr std::array<const char*, 5> NAMES{
    "_ZN2at4cuda9CUDAGraphC1Eb",
    "_ZN2at4cuda9CUDAGraphD1Ev",
    "_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode",
    "_ZN2at4cuda9CUDAGraph11capture_endEv",
    "_ZN2at4cuda9CUDAGraph6replayEv",
};

struct Functions {
  void (*construct)(void*, bool);
  void (*destroy)(void*);
  void (*begin)(void*, Pool, int);
  void (*end)(void*);
  void (*replay)(void*);
  bool complete = true;

  Functions() {
    size_t next = 0;
    auto find = [&](auto& function) {
      function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(RTLD_DEFAULT, NAMES[next++]));
      complete = complete && function;
    };
    find(construct);
    find(destroy);
    find(begin);
    find(end);
    find(replay);
  }
};

// Looked up only once CUDA is loaded or known to be missing.
const Functions& functions() {
  static const Functions found;
  return found;
}

struct alignas(64) Object {
  unsigned char bytes[ROOM];
};

void* begin_cuda(const at::Device&) {
  auto object = std::make_unique<Object>();
  functions().construct(object.get(), false);
  // The object stays if this throws; see Graph::end.
  void* recording = object.release();
  // The pool {0, 0} requests a new memory pool.
  functions().begin(recording, Pool{0, 0}, THREAD_LOCAL);
  return recording;
}
void end_cuda(void* recording) { functions().end(recording); }
void replay_cuda(void* recording) { functions().replay(recording); }
void drop_cuda(void* recording) {
  functions().destroy(recording);
  delete static_cast<Object*>(recording);
}

constexpr Recorder CUDA{begin_cuda, end_cuda, replay_cuda, drop_cuda};

thread_local const Recorder* emulated = nullptr;

// Whether a recording on CUDA could not be ended. libtorch then leaves it open in its allocators, which refuse the next
// recording with an internal error.
std::atomic<bool> broken{false};

// libtorch's default generator goes on as in a recording, and refuses to draw. A new state with the same seed and
// offset does not.
void mend_after_failure(const at::Device& device) {
  if (!device.is_cuda()) return;
  broken = true;
  at::Generator generator = at::globalContext().defaultGenerator(device);
  generator.graphsafe_set_state(generator.clone());
}

const Recorder* recorder_for(const at::Device& device) {
  if (device.is_cpu()) return emulated;
  return device.is_cuda() && functions().complete && !broken ? &CUDA : nullptr;
}

// One stream per device, since libtorch keeps a workspace for each stream on which products were computed.
c10::Stream stream_aside(const c10::impl::VirtualGuardImpl& guard, const at::Device& device) {
  static thread_local std::array<std::optional<c10::Stream>, 64> streams;
  auto& stream = streams.at(size_t(device.index()));
  if (!stream) stream = guard.getStreamFromGlobalPool(device, false);
  return *stream;
}

}  // namespace

const Recorder* emulate_graphs(const Recorder* recorder) { return std::exchange(emulated, recorder); }
bool has_recorder(const at::Device& device) { return recorder_for(device) != nullptr; }

const char* graph_symbols() {
  static const std::string lines = [] {
    std::string all;
    for (const char* name : NAMES) all.append(name).append("\n");
    return all;
  }();
  return lines.c_str();
}

SideStream::SideStream(const at::Device& device) : device_(device), earlier_device_(device) {
  if (!device.is_cuda()) return;
  const c10::impl::VirtualGuardImpl guard(device.type());
  wait();
  const c10::Stream stream = stream_aside(guard, device);
  earlier_device_ = guard.exchangeDevice(device);
  earlier_ = guard.exchangeStream(stream);
}

SideStream::~SideStream() {
  if (!earlier_) return;
  const c10::impl::VirtualGuardImpl guard(device_.type());
  guard.exchangeStream(*earlier_);
  guard.uncheckedSetDevice(earlier_device_);
}

void SideStream::wait() const {
  if (device_.is_cuda()) c10::impl::VirtualGuardImpl(device_.type()).synchronizeDevice(device_.index());
}

Graph::Graph(const at::Device& device) : device_(device), recorder_(recorder_for(device)) {
  TORCH_CHECK(recorder_, "graphs cannot be recorded on ", device);
  aside_ = std::make_unique<SideStream>(device);
  // A recording has its own memory; blocks cached by earlier calls would lie idle beside it.
  if (device.is_cuda()) at::getDeviceAllocator(device.type())->emptyCache();
  recording_ = recorder_->begin(device);
}

void Graph::end() {
  TORCH_CHECK(aside_, "this graph has ended already");
  // The previous stream is restored even if this fails.
  const auto side_stream = std::move(aside_);
  // If this throws, the recording is never dropped: libtorch's allocator may still call a function that reads it.
  void* recording = std::exchange(recording_, nullptr);
  try {
    recorder_->end(recording);
  } catch (...) {
    mend_after_failure(device_);
    throw;
  }
  recording_ = recording;
}

void Graph::replay() const {
  TORCH_CHECK(!aside_, "this graph has not ended");
  recorder_->replay(recording_);
}

Graph::~Graph() {
  try {
    // An aborted recording must end, or the stream would go on recording.
    if (aside_) end();
  } catch (...) {
  }
  try {
    if (device_.is_cuda()) c10::impl::VirtualGuardImpl(device_.type()).synchronizeDevice(device_.index());
    if (recording_) recorder_->drop(recording_);
  } catch (...) {
  }
}

}  // namespace sp
