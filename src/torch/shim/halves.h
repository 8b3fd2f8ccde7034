// Weights in bfloat16: a copy of each that is made when the weight has changed, not for each product.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

namespace sp {

// The copy of a float32 weight, current; a weight in bfloat16 is its own.
at::Tensor half(const at::Tensor& weight);
// Makes the copies that these weights have current, all by one operator: for an optimizer, after its update. Operators on
// many tensors at once do not count versions, so whoever calls one must call this or `changed`.
void refresh_halves(const std::vector<at::Tensor>& weights);
// Makes those copies current that are not, and gives the address of each weight's copy, null where it has none: for a graph,
// which reads copies without asking for their versions.
std::vector<const void*> renew_halves(const std::vector<at::Tensor>& weights);

// Counts a change of each tensor.
void changed(const std::vector<at::Tensor>& tensors);

}  // namespace sp
