// See halves.h. A copy belongs to a weight's version, which libtorch increments at each change, so that code that
// changes a weight need not know about its copy. The copy is freed with the weight.
#include "halves.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <mutex>
#include <unordered_map>

namespace sp {

namespace {

struct Half {
  c10::weak_intrusive_ptr<c10::TensorImpl> owner;
  int64_t version;
  at::Tensor copy;
};

std::mutex mutex;
auto& halves = *new std::unordered_map<c10::TensorImpl*, Half>();

bool fits(const Half& half, const at::Tensor& weight) {
  return !half.owner.expired() && half.copy.sizes() == weight.sizes() && half.copy.device() == weight.device();
}

}  // namespace

at::Tensor half(const at::Tensor& weight) {
  if (weight.scalar_type() == at::kBFloat16) return weight;
  const at::NoGradGuard no_grad;
  // A weight without a version counter may change unnoticed.
  if (weight.is_inference()) return weight.to(at::kBFloat16);
  const std::lock_guard<std::mutex> lock(mutex);
  const auto version = int64_t(weight._version());
  auto known = halves.find(weight.unsafeGetTensorImpl());
  if (known != halves.end() && fits(known->second, weight)) {
    Half& half = known->second;
    if (half.version != version) half.copy.copy_(weight);
    half.version = version;
    return half.copy;
  }
  for (auto i = halves.begin(); i != halves.end();) i = i->second.owner.expired() ? halves.erase(i) : std::next(i);
  halves.erase(weight.unsafeGetTensorImpl());
  const at::Tensor copy = weight.to(at::kBFloat16).contiguous();
  halves.emplace(weight.unsafeGetTensorImpl(),
                 Half{c10::weak_intrusive_ptr<c10::TensorImpl>(weight.getIntrusivePtr()), version, copy});
  return copy;
}

void refresh_halves(const std::vector<at::Tensor>& weights) {
  const at::NoGradGuard no_grad;
  const std::lock_guard<std::mutex> lock(mutex);
  std::vector<at::Tensor> from, to;
  for (const at::Tensor& weight : weights) {
    auto known = halves.find(weight.unsafeGetTensorImpl());
    if (known == halves.end() || !fits(known->second, weight)) continue;
    known->second.version = int64_t(weight._version());
    from.push_back(weight);
    to.push_back(known->second.copy);
  }
  if (!to.empty()) at::_foreach_copy_(to, from);
}

std::vector<const void*> renew_halves(const std::vector<at::Tensor>& weights) {
  const at::NoGradGuard no_grad;
  const std::lock_guard<std::mutex> lock(mutex);
  std::vector<const void*> addresses;
  std::vector<at::Tensor> from, to;
  for (const at::Tensor& weight : weights) {
    auto known = weight.is_inference() ? halves.end() : halves.find(weight.unsafeGetTensorImpl());
    if (known == halves.end() || !fits(known->second, weight)) {
      addresses.push_back(nullptr);
      continue;
    }
    Half& half = known->second;
    addresses.push_back(half.copy.const_data_ptr());
    if (half.version == int64_t(weight._version())) continue;
    half.version = int64_t(weight._version());
    from.push_back(weight);
    to.push_back(half.copy);
  }
  if (!to.empty()) at::_foreach_copy_(to, from);
  return addresses;
}

void changed(const std::vector<at::Tensor>& tensors) {
  for (const at::Tensor& t : tensors)
    if (!t.is_inference()) t.unsafeGetTensorImpl()->bump_version();
}

}  // namespace sp
