// Kernel files that are compiled on first use, and their launch on libtorch's stream.
#pragma once
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

namespace sp {

using at::Tensor;

// Compiles and launches kernels; the Rust side is src/torch/kernels/mod.rs.
struct Launcher {
  void* state;
  // Returns the number of a kernel file, compiled with these definitions and loaded on a device, or 0 if that
  // fails, with a message the first time.
  int64_t (*load)(void* state, int device, const char* file, const char* defines, char* message, size_t size);
  // Launches a kernel of a loaded file on a stream. On failure writes a message and returns nonzero.
  int (*launch)(void* state, int64_t kernels, const char* name, unsigned blocks, unsigned threads, void** arguments,
                void* stream, char* message, size_t size);
};

// Sets the launcher for CUDA tensors, once per process; later calls change nothing.
void install_launcher(const Launcher& launcher);
bool has_launcher();
// Sets a launcher, or null, for CPU tensors on this thread, for tests; returns the previous one.
const Launcher* emulate(const Launcher* launcher);

// Returns the number of kernels that this thread has launched.
int64_t started();

// Whether CPU operators and kernels support the storage of its elements.
inline bool stored(const Tensor& t) { return t.scalar_type() == at::kFloat || t.scalar_type() == at::kBFloat16; }
// Whether there are kernels for the device of `t`.
bool has_kernels(const Tensor& t);
// Whether operators on its device run in bfloat16.
bool autocasts(const Tensor& t);

// A kernel file for one case.
class KernelFile {
 public:
  KernelFile(const char* file, const Tensor& where) : file_(file), device_(where.device()) {}
  KernelFile& define(const char* name, int64_t value);
  KernelFile& define(const char* name, at::ScalarType type);
  // Compiles and loads; returns false if that fails.
  bool load();

  template <class... A>
  void launch(const char* name, int64_t blocks, int64_t threads, A... arguments) const {
    void* list[] = {static_cast<void*>(&arguments)...};
    start(name, blocks, threads, list);
  }

 private:
  void start(const char* name, int64_t blocks, int64_t threads, void** arguments) const;

  const char* file_;
  at::Device device_;
  std::string defines_;
  const Launcher* launcher_ = nullptr;
  int64_t loaded_ = 0;
};

// Returns the longest pack of at most `most` channels that divides `size` and all of `strides`, and to which all
// tensors are aligned.
int64_t pack(int64_t most, int64_t size, std::initializer_list<const Tensor*> tensors,
             std::initializer_list<int64_t> strides = {});

// Returns the number of parts, of at least `least` rows, into which each of `count` sets of `rows` is split, so
// that there are about `blocks` blocks: several waves for all multiprocessors, since a last wave that is half empty
// costs as much as a full one. It depends only on the shape, so that sums are added in one order.
inline int64_t parts_of(int64_t count, int64_t rows, int64_t least, int64_t blocks = 2048) {
  return std::clamp<int64_t>((blocks + count - 1) / std::max<int64_t>(count, 1), 1,
                             std::max<int64_t>((rows + least - 1) / least, 1));
}
// Bound on rows, so that kernels can index them in 32 bits, a few steps past their end included.
constexpr int64_t MOST_ROWS = int64_t(1) << 30;

// Distribution of the packs of a row over the threads of a block: `lanes` packs by `rows` tokens, and `slabs`
// blocks per row.
struct Spread {
  int64_t slabs, lanes, rows;
  explicit Spread(int64_t packs)
      : slabs((packs + 255) / 256), lanes((packs + slabs - 1) / slabs), rows(std::max<int64_t>(256 / lanes, 1)) {}
  int64_t threads() const { return lanes * rows; }
};

}  // namespace sp
