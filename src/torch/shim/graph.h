// CUDA graphs: device operations of a function, recorded once and replayed without libtorch's overhead.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>

namespace sp {

// Functions that record graphs. They throw on failure.
struct Recorder {
  // Starts recording the operations of this thread on the current stream; returns the recording.
  void* (*begin)(const at::Device&);
  // Ends a recording; it must be called even if the recorded code has failed.
  void (*end)(void* recording);
  // Replays a recording on the current stream.
  void (*replay)(void* recording);
  void (*drop)(void* recording);
};

// Whether there is a recorder for tensors on a device.
bool has_recorder(const at::Device& device);
// Sets a recorder, or null, for CPU tensors on this thread, for tests; returns the previous one.
const Recorder* emulate_graphs(const Recorder* recorder);
// Returns the symbols that are needed from libtorch's CUDA library, one per line.
const char* graph_symbols();

// Makes this thread compute on a side stream while it exists. It starts after the device has finished all earlier
// work, so that neither stream overwrites memory that the other still uses; callers must likewise wait before they
// end it.
class SideStream {
 public:
  explicit SideStream(const at::Device& device);
  ~SideStream();
  SideStream(const SideStream&) = delete;
  SideStream& operator=(const SideStream&) = delete;
  // Waits until the device has finished all work.
  void wait() const;

 private:
  at::Device device_;
  at::Device earlier_device_;
  std::optional<c10::Stream> earlier_;
};

// A recording, on the side stream until it has ended.
class Graph {
 public:
  explicit Graph(const at::Device& device);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  void end();
  void replay() const;

 private:
  at::Device device_;
  const Recorder* recorder_;
  std::unique_ptr<SideStream> aside_;
  void* recording_ = nullptr;
};

}  // namespace sp
