// A second device for libtorch without a GPU. It answers to the name CUDA, keeps its tensors in main memory, and computes
// with the CPU's operators, but it refuses what a GPU refuses: operators whose tensors are on different devices. Loaded
// before libtorch's first question about CUDA, it shows code that assumes tensors on the CPU.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <torch/library.h>

#include <atomic>
#include <cstdlib>
#include <set>
#include <string>
#include <unordered_map>

namespace {

using at::Tensor;
using torch::jit::Stack;

constexpr auto CUDA = c10::DeviceType::CUDA;
const c10::Device FIRST(CUDA, 0);

// Memory

struct Memory final : c10::DeviceAllocator {
  static void release(void* data) { std::free(data); }
  c10::DataPtr allocate(size_t bytes) override {
    void* data = bytes ? std::aligned_alloc(64, (bytes + 63) / 64 * 64) : nullptr;
    TORCH_CHECK_WITH(OutOfMemoryError, data || !bytes, "CUDA out of memory. Tried to allocate ", bytes, " bytes");
    return {data, data, &release, FIRST};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex) override { return {}; }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex) override {}
};
Memory memory;

// Devices and streams

thread_local c10::DeviceIndex current = 0;

struct Guard final : c10::impl::DeviceGuardImplInterface {
  Guard() = default;
  explicit Guard(c10::DeviceType) {}
  c10::DeviceType type() const override { return CUDA; }
  c10::Device exchangeDevice(c10::Device d) const override { return {CUDA, std::exchange(current, d.index())}; }
  c10::Device getDevice() const override { return {CUDA, current}; }
  void setDevice(c10::Device d) const override { current = d.index(); }
  void uncheckedSetDevice(c10::Device d) const noexcept override { current = d.index(); }
  c10::Stream getStream(c10::Device d) const override { return c10::Stream(c10::Stream::DEFAULT, d); }
  c10::Stream getDefaultStream(c10::Device d) const override { return c10::Stream(c10::Stream::DEFAULT, d); }
  c10::Stream getStreamFromGlobalPool(c10::Device d, bool) const override { return c10::Stream(c10::Stream::DEFAULT, d); }
  c10::Stream getNewStream(c10::Device d, int) const override { return c10::Stream(c10::Stream::DEFAULT, d); }
  c10::Stream exchangeStream(c10::Stream s) const override { return c10::Stream(c10::Stream::DEFAULT, s.device()); }
  void* getStreamNativeHandle(const c10::Stream) const override { return nullptr; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}
  void synchronizeEvent(void*) const override {}
  void synchronizeDevice(const c10::DeviceIndex index) const override { TORCH_CHECK(index == 0, "invalid device ordinal"); }
  void recordDataPtrOnStream(const c10::DataPtr&, const c10::Stream&) const override {}
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
};
C10_REGISTER_GUARD_IMPL(CUDA, Guard)

// Random numbers: a generator of the CPU's under the device's name.

struct Random final : c10::GeneratorImpl {
  at::Generator inner;
  explicit Random(at::Generator own) : GeneratorImpl(FIRST, c10::DispatchKeySet(c10::DispatchKey::CUDA)), inner(std::move(own)) {}
  void set_current_seed(uint64_t seed) override { inner.set_current_seed(seed); }
  void set_offset(uint64_t offset) override { inner.set_offset(offset); }
  uint64_t get_offset() const override { return inner.get_offset(); }
  uint64_t current_seed() const override { return inner.current_seed(); }
  uint64_t seed() override { return inner.seed(); }
  void set_state(const c10::TensorImpl& state) override { inner.unsafeGetGeneratorImpl()->set_state(state); }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override { return inner.unsafeGetGeneratorImpl()->get_state(); }
  Random* clone_impl() const override { return new Random(inner.clone()); }
  static c10::DeviceType device_type() { return CUDA; }
};

at::Generator generator() { return at::make_generator<Random>(at::detail::createCPUGenerator()); }

struct CUDAHooks final : at::CUDAHooksInterface {
  explicit CUDAHooks(at::CUDAHooksArgs) {}
  void init() const override {}
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    static const at::Generator own = generator();
    return own;
  }
  at::Generator getNewGenerator(c10::DeviceIndex) const override { return generator(); }
  at::Device getDeviceFromPtr(void*) const override { return FIRST; }
  bool hasCUDA() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  at::DeviceIndex current_device() const override { return current; }
  at::Allocator* getPinnedMemoryAllocator() const override { return c10::GetAllocator(c10::kCPU); }
  at::Allocator* getCUDADeviceAllocator() const override { return &memory; }
  int getNumGPUs() const override { return 1; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  c10::DeviceIndex getCurrentDevice() const override { return current; }
  void setCurrentDevice(c10::DeviceIndex index) const override { current = index; }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex index) const override { return std::exchange(current, index); }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex index) const override { return std::exchange(current, index); }
  void deviceSynchronize(c10::DeviceIndex) const override {}
};

// Operators

bool here(const Tensor& t) { return t.defined() && t.device().type() == CUDA; }

// Gives the memory of a tensor of the CPU to a tensor of the device.
c10::Storage moved(const Tensor& cpu) {
  auto* kept = new Tensor(cpu);
  c10::DataPtr data(cpu.storage().mutable_data(), kept, [](void* p) { delete static_cast<Tensor*>(p); }, FIRST);
  return c10::Storage(c10::Storage::use_byte_size_t(), cpu.storage().nbytes(), std::move(data), &memory, true);
}

Tensor tensor(c10::Storage storage, c10::DispatchKey key, const Tensor& like) {
  Tensor out = at::detail::make_tensor<c10::TensorImpl>(std::move(storage), c10::DispatchKeySet(key), like.dtype());
  out.unsafeGetTensorImpl()->set_sizes_and_strides(like.sizes(), like.strides(), like.storage_offset());
  if (like.is_conj()) out._set_conj(true);
  if (like.is_neg()) out._set_neg(true);
  return out;
}

// One call's tensors on the device, and the same memory as seen by the CPU.
struct Call {
  std::vector<std::pair<Tensor, Tensor>> pairs;
  std::unordered_map<void*, c10::Storage> storages;  // by memory of the device

  Tensor lower(const Tensor& t) {
    if (!here(t)) return t;
    for (const auto& [own, cpu] : pairs)
      if (own.is_same(t)) return cpu;
    auto* impl = t.storage().unsafeGetStorageImpl();
    auto found = storages.find(impl);
    if (found == storages.end()) {
      c10::DataPtr data(impl->mutable_data(), c10::Device(c10::kCPU));
      found = storages.emplace(impl, c10::Storage(c10::Storage::use_byte_size_t(), impl->nbytes(), std::move(data),
                                                  c10::GetAllocator(c10::kCPU), true)).first;
    }
    Tensor cpu = tensor(found->second, c10::DispatchKey::CPU, t);
    pairs.emplace_back(t, cpu);
    return cpu;
  }

  // What an operator has resized in place has new memory and sizes.
  void settle() {
    for (auto& [own, cpu] : pairs) {
      auto *to = own.storage().unsafeGetStorageImpl(), *from = cpu.storage().unsafeGetStorageImpl();
      if (to->data() != from->data() || to->nbytes() != from->nbytes()) {
        c10::Storage fresh = moved(cpu);
        to->set_data_ptr_noswap(std::move(fresh.unsafeGetStorageImpl()->mutable_data_ptr()));
        to->set_nbytes(from->nbytes());
      }
      if (own.sizes() != cpu.sizes() || own.strides() != cpu.strides() || own.storage_offset() != cpu.storage_offset())
        own.unsafeGetTensorImpl()->set_sizes_and_strides(cpu.sizes(), cpu.strides(), cpu.storage_offset());
    }
  }

  Tensor raise(const Tensor& t) {
    if (!t.defined() || !t.device().is_cpu() || t.layout() != c10::kStrided) return t;
    for (const auto& [own, cpu] : pairs)
      if (cpu.is_same(t)) return own;
    for (const auto& [own, cpu] : pairs)
      if (t.storage().data() && t.storage().data() == cpu.storage().data()) return tensor(own.storage(), c10::DispatchKey::CUDA, t);
    return tensor(moved(t), c10::DispatchKey::CUDA, t);
  }
};

// Operators that take tensors of both devices on a GPU, too.
bool mixes(const std::string& name) {
  static const std::set<std::string> names{"aten::copy_", "aten::_copy_from", "aten::index", "aten::index_put_",
                                           "aten::_index_put_impl_", "aten::_unsafe_index", "aten::index_put", "aten::set_"};
  return names.count(name) != 0;
}

// Operators that take a number as a tensor on the CPU beside tensors on a GPU do so through libtorch's iterator.
bool takes_numbers(const std::string& name) {
  static const std::set<std::string> refuse{
      "aten::cat", "aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm", "aten::convolution", "aten::embedding", "aten::gather",
      "aten::scatter", "aten::index_select", "aten::index_add", "aten::native_layer_norm", "aten::native_group_norm", "aten::searchsorted",
      "aten::bucketize", "aten::dot", "aten::mv", "aten::take", "aten::nll_loss_forward", "aten::grid_sampler_2d"};
  return refuse.count(name) == 0;
}

// How often the host waited for the device, and how often it sent it tensors, which a GPU's step should hardly need.
// SPECTRAL_SECOND_COUNTS names a file of 16 bytes that holds both numbers, also if the process ends without destructors.
struct Counts {
  std::atomic<int64_t> own[2] = {}, *all = own;
  Counts() {
    const char* path = std::getenv("SPECTRAL_SECOND_COUNTS");
    const int file = path ? open(path, O_RDWR) : -1;
    if (file < 0) return;
    void* mapped = mmap(nullptr, sizeof(own), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) all = static_cast<std::atomic<int64_t>*>(mapped);
  }
  void note(const std::string& name, const std::vector<Tensor>& tensors) {
    static const std::set<std::string> wait{"aten::_local_scalar_dense", "aten::nonzero", "aten::equal",
                                            "aten::masked_select", "aten::_unique2", "aten::is_nonzero"};
    const bool copies = name == "aten::copy_";
    if (wait.count(name) || copies && !here(tensors[0])) ++all[0];
    if (copies && !here(tensors[1])) ++all[1];
  }
};
Counts counts;

void same_device(const c10::OperatorHandle& op, const std::vector<Tensor>& tensors) {
  const std::string& name = op.schema().name();
  if (mixes(name)) return;
  for (const Tensor& t : tensors) {
    if (!t.defined() || here(t) || !t.device().is_cpu()) continue;
    TORCH_CHECK(t.dim() == 0 && takes_numbers(name),
                "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! (when checking "
                "arguments for ", name, ")");
  }
}

void compute(const c10::OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
  const auto& schema = op.schema();
  const size_t arguments = schema.arguments().size(), first = stack->size() - arguments;
  Call call;
  std::vector<Tensor> tensors;
  for (size_t i = first; i < stack->size(); ++i) {
    c10::IValue& value = (*stack)[i];
    if (value.isTensor()) {
      tensors.push_back(value.toTensor());
      value = call.lower(value.toTensor());
    } else if (value.isTensorList()) {
      c10::List<Tensor> lowered;
      for (const Tensor& t : value.toTensorVector()) {
        tensors.push_back(t);
        lowered.push_back(call.lower(t));
      }
      value = std::move(lowered);
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<Tensor>> lowered;
      for (const std::optional<Tensor>& t : value.toOptionalTensorVector()) {
        if (t) tensors.push_back(*t);
        lowered.push_back(t ? std::optional<Tensor>(call.lower(*t)) : std::nullopt);
      }
      value = std::move(lowered);
    } else if (value.isDevice()) {
      if (value.toDevice().type() == CUDA) value = c10::Device(c10::kCPU);
    } else if (value.isGenerator()) {
      auto* own = value.toGenerator().unsafeGetGeneratorImpl();
      TORCH_CHECK(own->device().type() == CUDA, "Expected a 'cuda' device type for generator but found 'cpu'");
      value = static_cast<Random*>(own)->inner;
    }
  }
  same_device(op, tensors);
  counts.note(op.schema().name(), tensors);
  {
    const at::AutoDispatchBelowADInplaceOrView below;
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    op.callBoxed(stack);
  }
  call.settle();
  const size_t returns = schema.returns().size(), start = stack->size() - returns;
  for (size_t i = start; i < stack->size(); ++i) {
    c10::IValue& value = (*stack)[i];
    if (value.isTensor()) {
      value = call.raise(value.toTensor());
    } else if (value.isTensorList()) {
      c10::List<Tensor> raised;
      for (const Tensor& t : value.toTensorVector()) raised.push_back(call.raise(t));
      value = std::move(raised);
    }
  }
}

Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>, std::optional<at::Device>,
             std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &memory, c10::DispatchKeySet(c10::DispatchKey::CUDA), c10::dtype_or_default(dtype), format);
}
Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                     std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, &memory, c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                           c10::dtype_or_default(dtype));
}

struct Installed {
  Installed() { c10::SetAllocator(CUDA, &memory, 255); }
} installed;

}  // namespace

namespace at {
REGISTER_CUDA_HOOKS(CUDAHooks)
}

TORCH_LIBRARY_IMPL(_, CUDA, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&compute>()); }

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("empty.memory_format", &empty);
  m.impl("empty_strided", &empty_strided);
  // libtorch composes these of functions that it looks up by the type of the device, which the CPU's half lacks.
  for (const char* name : {"copy_", "convolution", "convolution_backward", "mse_loss"})
    m.impl(name, torch::CppFunction::makeFromBoxedFunction<&compute>());
}
