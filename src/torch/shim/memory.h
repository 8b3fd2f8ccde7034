// Memory for tensors on the CPU: large blocks are kept for the next tensor of their size.
#pragma once
#include <cstddef>

namespace sp {

// Memory for `bytes`, aligned for vectors; never null.
void* take(size_t bytes);
void give_back(void* data);
// Bytes held for tensors that are gone.
size_t kept();

}  // namespace sp
