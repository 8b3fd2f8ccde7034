// Cache of large CPU memory blocks. The C library returns a large block to the system when a tensor is freed, and
// the next tensor pays for new pages, one page fault per 4 KiB: up to a quarter of the time of a forward pass. Here
// a large block is kept for the next tensor of about its size. Used and cached blocks together never exceed one and a
// half times the peak of use, nor the peak by more than MOST_EXTRA. The peak itself would not do: a network's large and
// small tensors have their peaks at different times, and together these are up to 1.4 times that of all, so each block
// would be freed before its reuse.
#include "memory.h"

#include <c10/util/Exception.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <list>
#include <mutex>
#include <new>

namespace {

constexpr size_t ALIGNMENT = 64, LARGE = 1 << 18, HUGE_PAGE = 2 << 20, MOST_EXTRA = 1 << 30;

// Stored before the data, in one unit of alignment.
struct Header {
  size_t bytes;  // the whole block, header included
};
static_assert(sizeof(Header) <= ALIGNMENT);

struct Pool {
  std::mutex mutex;
  std::list<void*> waiting;  // the one that waits longest first
  size_t waiting_bytes = 0, used_bytes = 0, most_used = 0;
};

// Never freed: tensors may be freed after the end of main.
Pool& pool() {
  static Pool* pool = new Pool;
  return *pool;
}

Header& header(void* data) { return *reinterpret_cast<Header*>(static_cast<char*>(data) - ALIGNMENT); }

void release(void* data) { std::free(static_cast<char*>(data) - ALIGNMENT); }

void* fresh(size_t bytes) {
  const size_t alignment = bytes >= HUGE_PAGE ? HUGE_PAGE : ALIGNMENT;
  void* block = nullptr;
  TORCH_CHECK_WITH(OutOfMemoryError, posix_memalign(&block, alignment, bytes) == 0,
                   "DefaultCPUAllocator: not enough memory: you tried to allocate ", bytes, " bytes.");
#ifdef MADV_HUGEPAGE
  if (bytes >= HUGE_PAGE) madvise(block, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#endif
  void* data = static_cast<char*>(block) + ALIGNMENT;
  header(data).bytes = bytes;
  return data;
}

// Returns the smallest cached block that holds `bytes` and is not much larger, or null.
void* waiting(Pool& pool, size_t bytes) {
  auto best = pool.waiting.end();
  for (auto it = pool.waiting.begin(); it != pool.waiting.end(); ++it) {
    const size_t size = header(*it).bytes;
    if (size >= bytes && size <= bytes + bytes / 8 && (best == pool.waiting.end() || size < header(*best).bytes))
      best = it;
  }
  if (best == pool.waiting.end()) return nullptr;
  void* data = *best;
  pool.waiting.erase(best);
  pool.waiting_bytes -= header(data).bytes;
  return data;
}

// Frees all cached blocks.
void clear(Pool& pool) {
  for (void* data : pool.waiting) release(data);
  pool.waiting.clear();
  pool.waiting_bytes = 0;
}

// Frees the oldest cached blocks until all blocks fit the limit.
void trim(Pool& pool) {
  const size_t limit = pool.most_used + std::min(pool.most_used / 2, MOST_EXTRA);
  while (!pool.waiting.empty() && pool.used_bytes + pool.waiting_bytes > limit) {
    void* oldest = pool.waiting.front();
    pool.waiting.pop_front();
    pool.waiting_bytes -= header(oldest).bytes;
    release(oldest);
  }
}

}  // namespace

namespace sp {

void* take(size_t wanted) {
  TORCH_CHECK_WITH(OutOfMemoryError, wanted <= SIZE_MAX / 2,
                   "DefaultCPUAllocator: not enough memory: you tried to allocate ", wanted, " bytes.");
  const size_t bytes = (wanted + 2 * ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  if (bytes < LARGE) return fresh(bytes);
  Pool& p = pool();
  std::lock_guard<std::mutex> lock(p.mutex);
  if (void* data = waiting(p, bytes)) {
    p.used_bytes += header(data).bytes;
    p.most_used = std::max(p.most_used, p.used_bytes);
    return data;
  }
  p.used_bytes += bytes;
  p.most_used = std::max(p.most_used, p.used_bytes);
  trim(p);
  try {
    return fresh(bytes);
  } catch (...) {
    // Freeing the cached blocks may make room.
    const bool waited = !p.waiting.empty();
    clear(p);
    if (waited) {
      try {
        return fresh(bytes);
      } catch (...) {
      }
    }
    p.used_bytes -= bytes;
    throw;
  }
}

void give_back(void* data) {
  if (!data) return;
  const size_t bytes = header(data).bytes;
  if (bytes < LARGE) return release(data);
  Pool& p = pool();
  std::lock_guard<std::mutex> lock(p.mutex);
  p.used_bytes -= bytes;
  try {
    p.waiting.push_back(data);
  } catch (const std::bad_alloc&) {
    return release(data);
  }
  p.waiting_bytes += bytes;
}

size_t kept() {
  std::lock_guard<std::mutex> lock(pool().mutex);
  return pool().waiting_bytes;
}

}  // namespace sp
