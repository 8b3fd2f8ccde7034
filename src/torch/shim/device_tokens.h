// Shared by the kernels on tokens: which tensors they support, and vectors of an image.
#pragma once
#include <ATen/ExpandUtils.h>
#include <ATen/Functions.h>

#include "launch.h"

namespace sp {

// Whether x is a tensor of tokens [B, N, D] small enough for 32-bit indices.
inline bool takes(const Tensor& x) {
  return has_kernels(x) && stored(x) && x.dim() == 3 && x.numel() > 0 && x.size(0) * x.size(1) < MOST_ROWS;
}
inline bool is_image_vector(const Tensor& t, const Tensor& x) {
  return t.device() == x.device() && stored(t) && t.dim() == 3 && t.size(1) == 1 && t.size(2) == x.size(2) &&
         (t.size(0) == x.size(0) || t.size(0) == 1);
}

inline const void* data(const Tensor& t) { return t.defined() ? t.const_data_ptr() : nullptr; }
inline void* writable(const Tensor& t) { return t.defined() ? t.data_ptr() : nullptr; }

// One vector per image [B, 1, D] or one for all images [1, 1, D], with dense channels; or none, if undefined.
struct ImageVectors {
  Tensor t;
  int64_t stride;
  ImageVectors(const Tensor& given, int64_t batch)
      : t(!given.defined() || given.stride(2) == 1 || given.size(2) == 1 ? given : given.contiguous()),
        stride(!t.defined() || (t.size(0) == 1 && batch > 1) ? 0 : t.stride(0)) {}
  bool defined() const { return t.defined(); }
  const void* data() const { return sp::data(t); }
  at::ScalarType type() const { return defined() ? t.scalar_type() : at::kFloat; }
  // The dtype of its gradient before images are summed.
  at::ScalarType gradient_type() const { return stride == 0 ? at::kFloat : type(); }
  Tensor gradient(int64_t batch, at::ScalarType type) const {
    return defined() ? at::empty({batch, 1, t.size(2)}, t.options().dtype(type)) : Tensor();
  }
  Tensor gradient(int64_t batch) const { return gradient(batch, gradient_type()); }
  Tensor finish(const Tensor& gradient) const {
    return defined() ? at::sum_to(gradient, t.sizes()).to(type()) : gradient;
  }
};

}  // namespace sp
