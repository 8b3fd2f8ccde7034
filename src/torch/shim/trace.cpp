// libtorch's profiler: every operator with its start and duration, as a Chrome trace.
#include "trace.h"

#include <torch/csrc/autograd/profiler_kineto.h>

namespace sp {

using namespace torch::profiler::impl;

void start_trace(bool cuda) {
  std::set<ActivityType> activities{ActivityType::CPU};
  if (cuda) activities.insert(ActivityType::CUDA);
  const ProfilerConfig config(ProfilerState::KINETO, /*report_input_shapes=*/true);
  torch::autograd::profiler::prepareProfiler(config, activities);
  torch::autograd::profiler::enableProfiler(
      config, activities, {at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION, at::RecordScope::USER_SCOPE});
}

void stop_trace(const std::string& path) { torch::autograd::profiler::disableProfiler()->save(path); }

}  // namespace sp
