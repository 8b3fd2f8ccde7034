// Shared by the CPU implementations of the fused operators: choice of the CPU operators, supported tensors, and
// distribution of tasks over threads.
#pragma once
#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <type_traits>
#include <vector>

#include "kernels.h"
#include "launch.h"

namespace sp {

using at::Tensor;

// Returns the CPU operators for this processor.
const Kernels& kernels();
// Whether the fused operators are switched on on this thread.
bool switched_on();

// Returns how many tasks run at once.
inline int64_t at_once(int64_t tasks) {
  return at::in_parallel_region() ? 1 : std::min<int64_t>(at::get_num_threads(), tasks);
}

// Runs tasks on libtorch's own threads, those of the OpenMP library it has loaded: a second set of threads would
// compete with them. The library is called by its entry point, so that any compiler will do.
template <class F>
void share(int64_t tasks, F&& task) {
  using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);
  static const auto parallel = reinterpret_cast<Parallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
  const int64_t threads = at_once(tasks);
  if (threads <= 1 || !parallel) {
    for (int64_t i = 0; i < tasks; ++i) task(i);
    return;
  }
  struct Job {
    std::remove_reference_t<F>* task;
    int64_t tasks;
    std::atomic<int64_t> next{0};
  } job{&task, tasks};
  parallel(
      [](void* data) {
        auto& job = *static_cast<Job*>(data);
        for (int64_t i; (i = job.next.fetch_add(1, std::memory_order_relaxed)) < job.tasks;) (*job.task)(i);
      },
      &job, unsigned(threads), 0);
}

// An operator on images is split into at least so many tasks.
constexpr int64_t LEAST_TASKS = 16;

// Returns this thread's scratch memory for one task at a time, aligned to a cache line: a vector that crosses two
// lines takes twice the time to load.
inline float* scratch(int64_t numbers) {
  static thread_local std::vector<float> kept;
  constexpr size_t LINE = 64;
  if (kept.size() < size_t(numbers) + LINE / sizeof(float)) kept.resize(size_t(numbers) + LINE / sizeof(float));
  const auto at = reinterpret_cast<uintptr_t>(kept.data());
  return kept.data() + (LINE - at % LINE) % LINE / sizeof(float);
}

// ------------------------------------------------------------------ tensors that the CPU operators support
inline Storage storage(const Tensor& t) { return t.scalar_type() == at::kFloat ? F32 : BF16; }
// When GPU kernels are emulated, a CPU tensor represents one on the GPU, where there are no CPU operators.
inline bool on_cpu(const Tensor& t) { return t.is_cpu() && !has_kernels(t); }
inline bool usable(const Tensor& t) { return switched_on() && on_cpu(t) && stored(t) && t.numel() > 0; }

// One float32 vector per image, from [B, 1, D] or [1, 1, D]; read in place, in adaLN's output. None if undefined.
struct Vectors {
  Tensor rows;  // [B, D] or [1, D]

  explicit Vectors(const Tensor& t) {
    if (!t.defined()) return;
    rows = t.to(at::kFloat).squeeze(1);
    if (rows.stride(1) != 1) rows = rows.contiguous();
    first = rows.const_data_ptr<float>();
    step = rows.size(0) == 1 ? 0 : rows.stride(0);
  }
  const float* of(int64_t image) const { return first + image * step; }

 private:
  const float* first = nullptr;
  int64_t step = 0;
};
inline bool is_vector(const Tensor& t, const Tensor& x) {
  return t.is_cpu() && stored(t) && t.dim() == 3 && t.size(1) == 1 && t.size(2) == x.size(2) &&
         (t.size(0) == x.size(0) || t.size(0) == 1);
}

}  // namespace sp
