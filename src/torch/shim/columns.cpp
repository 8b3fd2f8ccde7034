// See columns.h. A backward pass uses most sums right after they are stored, so only a few are kept at a time.
#include "columns.h"

#include <algorithm>
#include <mutex>
#include <vector>

namespace sp {

namespace {

struct Known {
  c10::weak_intrusive_ptr<c10::TensorImpl> owner;
  c10::TensorImpl* address;
  int64_t version;
  at::Tensor sums;
};

std::mutex mutex;
auto& known = *new std::vector<Known>();

int64_t version_of(const at::Tensor& t) { return t.is_inference() ? 0 : int64_t(t._version()); }

}  // namespace

void keep_column_sums(const at::Tensor& gradient, const at::Tensor& sums) {
  auto* address = gradient.unsafeGetTensorImpl();
  const std::lock_guard<std::mutex> lock(mutex);
  known.erase(std::remove_if(known.begin(), known.end(),
                             [&](const Known& k) { return k.address == address || k.owner.expired(); }),
              known.end());
  known.push_back(
      {c10::weak_intrusive_ptr<c10::TensorImpl>(gradient.getIntrusivePtr()), address, version_of(gradient), sums});
}

at::Tensor take_column_sums(const at::Tensor& gradient) {
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = std::find_if(known.begin(), known.end(), [&](const Known& k) {
    return k.address == gradient.unsafeGetTensorImpl() && !k.owner.expired();
  });
  if (found == known.end()) return {};
  const at::Tensor sums = found->version == version_of(gradient) ? found->sums : at::Tensor();
  known.erase(found);
  return sums;
}

}  // namespace sp
