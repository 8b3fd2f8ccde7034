// Cache of bfloat16 weights: copies that are updated when the weights change, not for each product.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

namespace sp {

// Returns the current copy of a float32 weight; a bfloat16 weight is returned itself.
at::Tensor bf16_copy(const at::Tensor& weight);
// Updates the existing copies of these weights with a single operator, for an optimizer after its update. Operators
// on many tensors at once do not increment versions, so callers of such operators must call this or `changed`.
void refresh_bf16_weights(const std::vector<at::Tensor>& weights);
// Updates outdated copies and returns the address of each weight's copy, or null if it has none, for a graph, which
// reads copies without checking their versions.
std::vector<const void*> renew_bf16_weights(const std::vector<at::Tensor>& weights);

// Increments the version of each tensor.
void changed(const std::vector<at::Tensor>& tensors);

}  // namespace sp
