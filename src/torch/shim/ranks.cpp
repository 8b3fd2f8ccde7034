// Ranks over c10d's TCPStore and Gloo, which libtorch's CPU library contains.
#define USE_C10D_GLOO
#include "ranks.h"

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <c10/util/Logging.h>

#include <chrono>
#include <cstdlib>
#include <mutex>

namespace sp {

using std::chrono::milliseconds;

struct Store {
  c10::intrusive_ptr<c10d::TCPStore> server;
  c10::intrusive_ptr<c10d::Store> inner;
};

struct Group {
  c10::intrusive_ptr<c10d::ProcessGroupGloo> inner;
};

struct Work {
  c10::intrusive_ptr<c10d::Work> inner;
};

Store* open_store(const std::string& host, int port, bool server, const std::string& prefix, int64_t timeout_ms) {
  // c10d logs every retry and every closed connection, of which our messages tell what matters.
  if (!std::getenv("TORCH_CPP_LOG_LEVEL")) FLAGS_caffe2_log_level = 3;
  c10d::TCPStoreOptions options;
  options.port = uint16_t(port);
  options.isServer = server;
  options.waitWorkers = false;
  options.timeout = milliseconds(timeout_ms);
  auto store = c10::make_intrusive<c10d::TCPStore>(host, options);
  return new Store{store, c10::make_intrusive<c10d::PrefixStore>(prefix, store)};
}

int store_port(const Store& store) { return store.server->getPort(); }

void store_set(Store& store, const std::string& key, const std::string& value) {
  store.inner->set(key, std::vector<uint8_t>(value.begin(), value.end()));
}

std::string store_get(Store& store, const std::string& key, int64_t timeout_ms) {
  store.inner->wait({key}, milliseconds(timeout_ms));
  const auto value = store.inner->get(key);
  return std::string(value.begin(), value.end());
}

void free_store(Store* store) { delete store; }

Group* open_group(Store& store, int rank, int size, const std::string& address, const std::string& interface,
                  int64_t timeout_ms) {
  using c10d::ProcessGroupGloo;
  auto options = ProcessGroupGloo::Options::create(milliseconds(timeout_ms));
  options->devices.push_back(interface.empty() ? ProcessGroupGloo::createDeviceForHostname(address)
                                               : ProcessGroupGloo::createDeviceForInterface(interface));
  return new Group{c10::make_intrusive<ProcessGroupGloo>(store.inner, rank, size, options)};
}

void free_group(Group* group) { delete group; }

// Starts a collective. c10d's flight recorder keeps a map of all groups of the process, which it changes without a
// lock, so threads with groups of their own must not start collectives at once.
template <typename Body>
static Work* start(Body&& body) {
  static std::mutex starting;
  const std::lock_guard<std::mutex> lock(starting);
  return new Work{body()};
}

Work* start_sum(Group& group, const at::Tensor& tensor) {
  std::vector<at::Tensor> tensors{tensor};
  return start([&] { return group.inner->allreduce(tensors); });
}

Work* start_broadcast(Group& group, const at::Tensor& tensor, int root) {
  std::vector<at::Tensor> tensors{tensor};
  c10d::BroadcastOptions options;
  options.rootRank = root;
  return start([&] { return group.inner->broadcast(tensors, options); });
}

Work* start_gather(Group& group, const at::Tensor& output, const at::Tensor& input) {
  at::Tensor out = output, in = input;
  return start([&] { return group.inner->_allgather_base(out, in); });
}

Work* start_exchange(Group& group, const at::Tensor& output, const at::Tensor& input) {
  at::Tensor out = output, in = input;
  std::vector<int64_t> equal;
  return start([&] { return group.inner->alltoall_base(out, in, equal, equal); });
}

bool wait_for(Work& work, int64_t ms) {
  try {
    work.inner->wait(milliseconds(ms));
    return true;
  } catch (...) {
    // c10d throws if the time is over, too.
    if (!work.inner->isCompleted()) return false;
  }
  // The work failed, or was done just after the time was over.
  work.inner->wait();
  return true;
}

void free_work(Work* work) { delete work; }

}  // namespace sp
