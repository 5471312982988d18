// `mixrec bench ps`: the parameter server beside plain libzmq, and its softmax beside the matrix
// product (docs/performance.md).
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"

namespace mixrec::bench {

struct PsBenchOptions {
  double seconds = 0.5;          // of each measurement
  int rounds = 5;                // measurements of each side, in turns; their medians count
  int threads = 1;               // of a shard's computations
  at::Device device = at::kCPU;  // of the shards, and of the matrix product
  int in_flight = 2;             // requests of a worker: this batch's and the next one's
  std::vector<std::pair<int64_t, int64_t>> shapes{{16, 64}, {2048, 64}, {4096, 768}};
  double idle_seconds = 10;
  bool all = true;  // false: only SGD without replica, beside libzmq
};

// Prints a JSON line as each is measured: {"op", "shape", "processes", "optimizer", "replicas",
// "device", "gb_per_s", "ratio_to_zmq", "zmq_gb_per_s", "ratio_to_zmq_unread",
// "zmq_unread_gb_per_s", "p50_us", "p99_us", "cpu_us_per_request", "zmq_cpu_us_per_request",
// "zmq_unread_cpu_us_per_request"} (both ceilings: bench/zmq_ceiling.h); for the softmax
// "gflop_per_s", "ratio_to_matmul", "matmul_gflop_per_s" instead of the rates of bytes; for an idle
// shard "cpu_percent". Forks: call it before this process has threads.
absl::Status PrintPsBench(const PsBenchOptions& options, std::ostream& out);

}  // namespace mixrec::bench
