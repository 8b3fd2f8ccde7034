// Sums of a gradient's columns that the kernel which wrote the gradient has added up along the way. The linear map whose
// output it is takes the gradient of its bias from here rather than reading the gradient once more.
#pragma once
#include <ATen/core/Tensor.h>

namespace sp {

// Keeps `sums` [D] for a gradient [.., D] as long as the gradient lives and does not change.
void keep_column_sums(const at::Tensor& gradient, const at::Tensor& sums);

// Hands out what was kept and forgets it; undefined where nothing was, or where the gradient has changed since.
at::Tensor take_column_sums(const at::Tensor& gradient);

}  // namespace sp
