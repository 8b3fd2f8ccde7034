// Runs a kernel on the CPU as a GPU would, one block after the other: each thread of a block is a fiber, and a barrier or
// an exchange between the lanes of a warp hands over to the next one.
//
// The order in which threads run between two barriers turns round each time, so that a missing barrier shows. A barrier that
// some thread of a warp never reaches is an error, as it is undefined on a GPU.
#pragma once
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <functional>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(threads)

struct Index {
  unsigned x;
};
static Index threadIdx, blockIdx, blockDim, gridDim;

static inline float __uint_as_float(unsigned x) {
  float y;
  memcpy(&y, &x, 4);
  return y;
}
static inline unsigned __float_as_uint(float x) {
  unsigned y;
  memcpy(&y, &x, 4);
  return y;
}
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
#define __expf expf
static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }

namespace emulator {

constexpr int WARP = 32;
constexpr size_t STACK = 1 << 17;

enum State { FRESH, READY, AT_BLOCK, AT_WARP, DONE };
struct Fiber {
  State state;
  int exchanges;
  jmp_buf at;
  ucontext_t start;
};

static std::vector<Fiber> fibers;
static char* stacks;
static size_t stack_count;
static jmp_buf scheduler;
static ucontext_t scheduler_start;
static unsigned current;
static const std::function<void()>* body;
// What the lanes of each warp hand to each other: two sets of places, so that one barrier for each exchange is enough.
static float exchanged[2][1024];

static void enter() {
  (*body)();
  fibers[current].state = DONE;
  _longjmp(scheduler, 1);
}

static void wait(State state) {
  Fiber& own = fibers[current];
  own.state = state;
  if (!_setjmp(own.at)) _longjmp(scheduler, 1);
}

static void resume(unsigned thread) {
  current = thread;
  threadIdx.x = thread;
  Fiber& fiber = fibers[thread];
  const bool fresh = fiber.state == FRESH;
  fiber.state = READY;
  if (_setjmp(scheduler)) return;
  if (!fresh) _longjmp(fiber.at, 1);
  getcontext(&fiber.start);
  fiber.start.uc_stack.ss_sp = stacks + thread * STACK;
  fiber.start.uc_stack.ss_size = STACK;
  fiber.start.uc_link = nullptr;
  makecontext(&fiber.start, enter, 0);
  setcontext(&fiber.start);
}

// Lets those go on whose barrier is complete; false where nobody can.
static bool release() {
  const unsigned count = unsigned(fibers.size());
  bool any = false;
  for (unsigned first = 0; first < count; first += WARP) {
    bool whole = first + WARP <= count;
    for (unsigned i = first; whole && i < first + WARP; ++i) whole = fibers[i].state == AT_WARP;
    for (unsigned i = first; whole && i < first + WARP; ++i) fibers[i].state = READY;
    any = any || whole;
  }
  if (any) return true;
  for (const Fiber& f : fibers)
    if (f.state != AT_BLOCK && f.state != DONE) return false;
  for (Fiber& f : fibers)
    if (f.state == AT_BLOCK) {
      f.state = READY;
      any = true;
    }
  return any;
}

// Runs all blocks; 0, or 1 where threads wait for ever.
static int run(unsigned blocks, unsigned threads, const std::function<void()>& kernel) {
  if (threads == 0 || threads > 1024) return 2;
  if (stack_count < threads) {
    stacks = static_cast<char*>(
        mmap(nullptr, STACK * threads, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    stack_count = threads;
  }
  body = &kernel;
  gridDim.x = blocks;
  blockDim.x = threads;
  for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
    fibers.assign(threads, Fiber{});
    bool backwards = blockIdx.x % 2;
    for (;;) {
      bool done = true;
      for (unsigned i = 0; i < threads; ++i) {
        const unsigned thread = backwards ? threads - 1 - i : i;
        if (fibers[thread].state <= READY) resume(thread);
        done = done && fibers[thread].state == DONE;
      }
      if (done) break;
      if (!release()) return 1;
      backwards = !backwards;
    }
  }
  return 0;
}

template <class... A, size_t... I>
static void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
  kernel(*static_cast<std::remove_reference_t<A>*>(arguments[I])...);
}
template <class... A>
static int run(void (*kernel)(A...), unsigned blocks, unsigned threads, void** arguments) {
  return run(blocks, threads, [&] { call(kernel, arguments, std::index_sequence_for<A...>()); });
}

}  // namespace emulator

static inline void __syncthreads() { emulator::wait(emulator::AT_BLOCK); }
static inline float __shfl_xor_sync(unsigned, float x, int lanes) {
  using namespace emulator;
  const unsigned own = current;
  float* places = exchanged[fibers[own].exchanges++ % 2];
  places[own] = x;
  wait(AT_WARP);
  return places[own ^ unsigned(lanes)];
}

namespace emulator {
// How many arguments a kernel takes and how many bytes each has.
template <class... A>
unsigned sizes(void (*)(A...), size_t* bytes) {
  const size_t all[] = {sizeof(A)...};
  for (size_t i = 0; i < sizeof...(A); ++i) bytes[i] = all[i];
  return sizeof...(A);
}
}  // namespace emulator

#define EXPORT(name)                                                                            \
  extern "C" unsigned sizes_##name(size_t* bytes) { return emulator::sizes(name, bytes); }      \
  extern "C" int emulate_##name(unsigned blocks, unsigned threads, void** arguments) {          \
    return emulator::run(name, blocks, threads, arguments);                                     \
  }
