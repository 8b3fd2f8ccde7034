// Column sums of a gradient, computed by the kernel that wrote the gradient. The linear map whose output it belongs
// to takes the gradient of its bias from here instead of reading the gradient once more.
#pragma once
#include <ATen/core/Tensor.h>

namespace sp {

// Keeps `sums` [D] for a gradient [.., D] as long as the gradient exists and does not change.
void keep_column_sums(const at::Tensor& gradient, const at::Tensor& sums);

// Returns and forgets the sums of a gradient; undefined if there are none, or if the gradient has changed since.
at::Tensor take_column_sums(const at::Tensor& gradient);

}  // namespace sp
