// KernelFile that are compiled when they are first needed: which ones, and starting them on libtorch's stream.
#pragma once
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

namespace sp {

using at::Tensor;

// Who compiles and starts kernels; Rust's side is cuda/mod.rs.
struct Launcher {
  void* state;
  // The number of a file of kernels, compiled with these definitions and loaded on a device; 0 where that fails, with a
  // message the first time.
  int64_t (*load)(void* state, int device, const char* file, const char* defines, char* message, size_t size);
  // Starts a kernel of a loaded file on a stream. Failing, writes a message and returns what is not 0.
  int (*launch)(void* state, int64_t kernels, const char* name, unsigned blocks, unsigned threads, void** arguments,
                void* stream, char* message, size_t size);
};

// The launcher for CUDA tensors, once for the process; later calls change nothing.
void install_launcher(const Launcher& launcher);
bool has_launcher();
// One that takes tensors on the CPU on this thread, for tests, or null; returns the earlier one.
const Launcher* emulate(const Launcher* launcher);

// How many kernels this thread has started.
int64_t started();

// Whether loops and kernels know how its elements are stored.
inline bool stored(const Tensor& t) { return t.scalar_type() == at::kFloat || t.scalar_type() == at::kBFloat16; }
// Whether there are kernels for the device where `t` is.
bool has_kernels(const Tensor& t);
// Whether operators on its device run in bfloat16.
bool autocasts(const Tensor& t);

// A file of kernels for one case.
class KernelFile {
 public:
  KernelFile(const char* file, const Tensor& where) : file_(file), device_(where.device()) {}
  KernelFile& define(const char* name, int64_t value);
  KernelFile& define(const char* name, at::ScalarType type);
  // Compiles and loads; false where that fails.
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

// The longest pack of at most `most` channels that divides `size` and all of `strides`, and by which all tensors are
// aligned.
int64_t pack(int64_t most, int64_t size, std::initializer_list<const Tensor*> tensors,
             std::initializer_list<int64_t> strides = {});

// Into how many parts of at least `least` rows each of `count` sets of `rows` is cut, so that about `blocks` blocks
// have work: several rounds for all multiprocessors, since a last round that is half empty costs as much as a full one. It
// depends on the shape alone, so that sums are added in one order.
inline int64_t parts_of(int64_t count, int64_t rows, int64_t least, int64_t blocks = 2048) {
  return std::clamp<int64_t>((blocks + count - 1) / std::max<int64_t>(count, 1), 1,
                             std::max<int64_t>((rows + least - 1) / least, 1));
}
// Rows that kernels can count in 32 bits, a few steps past their end included.
constexpr int64_t MOST_ROWS = int64_t(1) << 30;

// How packs of a row are spread over a block's threads: `lanes` packs by `rows` tokens, and `slabs` blocks for a row.
struct Spread {
  int64_t slabs, lanes, rows;
  explicit Spread(int64_t packs)
      : slabs((packs + 255) / 256), lanes((packs + slabs - 1) / slabs), rows(std::max<int64_t>(256 / lanes, 1)) {}
  int64_t threads() const { return lanes * rows; }
};

}  // namespace sp
