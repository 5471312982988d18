// The parameter server of a benchmark: an authority and its shards, each a child process on a
// loopback port.
#pragma once

#include <c10/core/Device.h>

#include <memory>
#include <string>
#include <vector>

#include "bench/processes.h"
#include "common/status.h"

namespace mixrec::bench {

struct PsServersOptions {
  int shards = 1, replicas = 0;
  int threads = 1;  // of a shard's computations
  at::Device device = at::kCPU;
};

// Processes end when it is destroyed.
class PsServers {
 public:
  // Waits until all listen.
  static absl::StatusOr<std::unique_ptr<PsServers>> Start(const PsServersOptions& options);

  const std::string& address() const { return address_; }  // host:port of the authority
  // Processor time of all shard processes so far.
  double ShardCpuSeconds() const;

 private:
  PsServers() = default;

  std::string address_;
  std::unique_ptr<Child> authority_;
  std::vector<std::unique_ptr<Child>> shards_;
};

}  // namespace mixrec::bench
