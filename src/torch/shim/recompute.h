// Parts of a network that are computed again in their backward pass; see recompute.cpp.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

namespace sp {

// Code of Rust: takes `count` tensors, which it owns, and stores its result with sp_set_tensor. On failure it returns
// another number than 0 and a text, which `drop_text` frees.
using RunCode = int (*)(void* code, at::Tensor** inputs, int64_t count, at::Tensor* result, char** failure);
using DropCode = void (*)(void* code);
using DropText = void (*)(char* text);

struct CodeOfRust {
  void* code;
  RunCode run;
  DropCode drop;
  DropText drop_text;
};

// Runs code without keeping what its backward pass needs. Takes ownership of the code, which must be a function of its
// inputs and of leaf tensors alone.
at::Tensor recomputed(const CodeOfRust& code, const std::vector<at::Tensor>& inputs);

}  // namespace sp
