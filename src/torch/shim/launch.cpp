// See launch.h.
#include "launch.h"

#include <ATen/autocast_mode.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <atomic>
#include <utility>

namespace sp {

static std::atomic<const Launcher*> installed{nullptr};
static thread_local const Launcher* emulated = nullptr;
static thread_local int64_t count = 0;

void install_launcher(const Launcher& launcher) {
  const Launcher* none = nullptr;
  auto* own = new Launcher(launcher);  // for the life of the process
  if (!installed.compare_exchange_strong(none, own)) delete own;
}

bool has_launcher() { return installed.load() != nullptr; }

const Launcher* emulate(const Launcher* launcher) { return std::exchange(emulated, launcher); }

static const Launcher* launcher_for(const at::Device& device) {
  if (device.is_cuda()) return installed.load(std::memory_order_acquire);
  return device.is_cpu() ? emulated : nullptr;
}

int64_t started() { return count; }

bool has_kernels(const Tensor& t) { return launcher_for(t.device()) != nullptr; }
bool autocasts(const Tensor& t) {
  return at::autocast::is_autocast_enabled(t.device().type()) &&
         at::autocast::get_autocast_dtype(t.device().type()) == at::kBFloat16;
}

KernelFile& KernelFile::define(const char* name, int64_t value) {
  defines_.append(name).append("=").append(std::to_string(value)).append("\n");
  return *this;
}
KernelFile& KernelFile::define(const char* name, at::ScalarType type) {
  defines_.append(name).append(type == at::kFloat ? "=float\n" : "=bf16\n");
  return *this;
}

bool KernelFile::load() {
  launcher_ = launcher_for(device_);
  const int device = device_.is_cuda() ? int(device_.index()) : -1;
  if (!launcher_) return false;
  char message[1024] = "";
  loaded_ = launcher_->load(launcher_->state, device, file_, defines_.c_str(), message, sizeof(message));
  if (*message) TORCH_WARN("fused CUDA kernels are not used, libtorch's operators are: ", message);
  return loaded_ != 0;
}

void KernelFile::start(const char* name, int64_t blocks, int64_t threads, void** arguments) const {
  TORCH_INTERNAL_ASSERT(loaded_, "the kernels of ", file_, " are not loaded");
  TORCH_CHECK(blocks > 0 && blocks < (int64_t(1) << 31), "kernel ", name, " cannot start ", blocks, " blocks");
  void* stream = nullptr;
  if (device_.is_cuda()) {
    const c10::impl::VirtualGuardImpl device(at::kCUDA);
    stream = device.getStreamNativeHandle(device.getStream(device_));
  }
  char message[512] = "";
  const int failed = launcher_->launch(launcher_->state, loaded_, name, unsigned(blocks), unsigned(threads), arguments,
                                       stream, message, sizeof(message));
  TORCH_CHECK(!failed, "kernel ", name, " could not be started: ", message);
  ++count;
}

int64_t pack(int64_t most, int64_t size, std::initializer_list<const Tensor*> tensors,
             std::initializer_list<int64_t> strides) {
  auto fits = [&](int64_t n) {
    if (size % n) return false;
    for (int64_t stride : strides)
      if (stride % n) return false;
    for (const Tensor* t : tensors)
      if (t->defined() && reinterpret_cast<uintptr_t>(t->const_data_ptr()) % uintptr_t(n * t->element_size()))
        return false;
    return true;
  };
  int64_t n = most;
  while (n > 1 && !fits(n)) n /= 2;
  return n;
}

}  // namespace sp
