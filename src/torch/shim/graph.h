// Graphs: what a function asks of a device, recorded once and asked again without libtorch's part of the work.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>

namespace sp {

// Who records. Its functions throw.
struct Recorder {
  // Records what this thread asks of a device on the current stream, from now on; gives the recording.
  void* (*begin)(const at::Device&);
  // Ends that; it must be called also where what was recorded has failed.
  void (*end)(void* recording);
  // Asks all of it again on the current stream.
  void (*replay)(void* recording);
  void (*drop)(void* recording);
};

// Whether there is a recorder for tensors on a device.
bool has_recorder(const at::Device& device);
// One for tensors on the CPU on this thread, for tests, or null; returns the earlier one.
const Recorder* emulate_graphs(const Recorder* recorder);
// The names of the functions of libtorch's CUDA half that are needed, one a line.
const char* graph_symbols();

// While one lives, this thread computes on a stream beside the usual one. It starts when the device has done all that came
// before, so that memory of one stream is never written by the other too early; whoever ends it waits likewise.
class Aside {
 public:
  explicit Aside(const at::Device& device);
  ~Aside();
  Aside(const Aside&) = delete;
  Aside& operator=(const Aside&) = delete;
  // Waits until the device has done everything.
  void wait() const;

 private:
  at::Device device_;
  at::Device earlier_device_;
  std::optional<c10::Stream> earlier_;
};

// A recording, on the stream aside until it has ended.
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
  std::unique_ptr<Aside> aside_;
  void* recording_ = nullptr;
};

}  // namespace sp
