// Ranks of one run: a store to find each other, and collectives of CPU tensors, both of c10d. Functions throw.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace sp {

struct Store;
struct Group;
struct Work;

// Connects to the store at host and port, which the server starts; port 0 picks a free one. Waits for the server.
// The prefix keeps the keys of several users apart.
Store* open_store(const std::string& host, int port, bool server, const std::string& prefix, int64_t timeout_ms);
int store_port(const Store& store);
void store_set(Store& store, const std::string& key, const std::string& value);
// Waits for a key.
std::string store_get(Store& store, const std::string& key, int64_t timeout_ms);
void free_store(Store* store);

// Connects all ranks by sockets of a local address, or of a network interface unless that is empty.
Group* open_group(Store& store, int rank, int size, const std::string& address, const std::string& interface,
                  int64_t timeout_ms);
void free_group(Group* group);

// Each call starts a collective of contiguous CPU tensors, which must stay alive until its work is freed.
Work* start_sum(Group& group, const at::Tensor& tensor);
Work* start_broadcast(Group& group, const at::Tensor& tensor, int root);
Work* start_gather(Group& group, const at::Tensor& output, const at::Tensor& input);
Work* start_exchange(Group& group, const at::Tensor& output, const at::Tensor& input);
// Returns whether the work is done after at most so many milliseconds; throws if it failed.
bool wait_for(Work& work, int64_t milliseconds);
void free_work(Work* work);

}  // namespace sp
