// See bf16_weights.h. A copy belongs to a weight's version, which libtorch increments at each change, so that code that
// changes a weight need not know about its copy. The copy is freed with the weight.
#include "bf16_weights.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <mutex>
#include <unordered_map>

namespace sp {

namespace {

struct Cached {
  c10::weak_intrusive_ptr<c10::TensorImpl> owner;
  int64_t version;
  at::Tensor copy;
};

std::mutex mutex;
auto& copies = *new std::unordered_map<c10::TensorImpl*, Cached>();

bool fits(const Cached& cached, const at::Tensor& weight) {
  return !cached.owner.expired() && cached.copy.sizes() == weight.sizes() && cached.copy.device() == weight.device();
}

}  // namespace

at::Tensor bf16_copy(const at::Tensor& weight) {
  if (weight.scalar_type() == at::kBFloat16) return weight;
  const at::NoGradGuard no_grad;
  // A weight without a version counter may change unnoticed.
  if (weight.is_inference()) return weight.to(at::kBFloat16);
  const std::lock_guard<std::mutex> lock(mutex);
  const auto version = int64_t(weight._version());
  auto known = copies.find(weight.unsafeGetTensorImpl());
  if (known != copies.end() && fits(known->second, weight)) {
    Cached& cached = known->second;
    if (cached.version != version) cached.copy.copy_(weight);
    cached.version = version;
    return cached.copy;
  }
  for (auto i = copies.begin(); i != copies.end();) i = i->second.owner.expired() ? copies.erase(i) : std::next(i);
  copies.erase(weight.unsafeGetTensorImpl());
  const at::Tensor copy = weight.to(at::kBFloat16).contiguous();
  copies.emplace(weight.unsafeGetTensorImpl(),
                 Cached{c10::weak_intrusive_ptr<c10::TensorImpl>(weight.getIntrusivePtr()), version, copy});
  return copy;
}

void refresh_bf16_weights(const std::vector<at::Tensor>& weights) {
  const at::NoGradGuard no_grad;
  const std::lock_guard<std::mutex> lock(mutex);
  std::vector<at::Tensor> from, to;
  for (const at::Tensor& weight : weights) {
    auto known = copies.find(weight.unsafeGetTensorImpl());
    if (known == copies.end() || !fits(known->second, weight)) continue;
    known->second.version = int64_t(weight._version());
    from.push_back(weight);
    to.push_back(known->second.copy);
  }
  if (!to.empty()) at::_foreach_copy_(to, from);
}

std::vector<const void*> renew_bf16_weights(const std::vector<at::Tensor>& weights) {
  const at::NoGradGuard no_grad;
  const std::lock_guard<std::mutex> lock(mutex);
  std::vector<const void*> addresses;
  std::vector<at::Tensor> from, to;
  for (const at::Tensor& weight : weights) {
    auto known = weight.is_inference() ? copies.end() : copies.find(weight.unsafeGetTensorImpl());
    if (known == copies.end() || !fits(known->second, weight)) {
      addresses.push_back(nullptr);
      continue;
    }
    Cached& cached = known->second;
    addresses.push_back(cached.copy.const_data_ptr());
    if (cached.version == int64_t(weight._version())) continue;
    cached.version = int64_t(weight._version());
    from.push_back(weight);
    to.push_back(cached.copy);
  }
  if (!to.empty()) at::_foreach_copy_(to, from);
  return addresses;
}

void changed(const std::vector<at::Tensor>& tensors) {
  for (const at::Tensor& t : tensors)
    if (!t.is_inference()) t.unsafeGetTensorImpl()->bump_version();
}

}  // namespace sp
