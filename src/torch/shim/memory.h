// Memory for CPU tensors: large blocks are cached for the next tensor of their size.
#pragma once
#include <cstddef>

namespace sp {

// Returns memory for `bytes`, aligned for vectors; never null.
void* take(size_t bytes);
void give_back(void* data);
// Returns the number of cached bytes.
size_t kept();

}  // namespace sp
