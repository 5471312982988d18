// The parameter server under the traffic of bench/ps_traffic.h: sessions in worker processes,
// shards in theirs.
#pragma once

#include <c10/core/Device.h>

#include "bench/ps_traffic.h"
#include "common/status.h"
#include "ps/protocol.h"

namespace mixrec::bench {

struct SessionTrafficOptions {
  TrafficOptions traffic;
  ps::Optimizer optimizer = ps::Optimizer::kSgd;
  int replicas = 0;
  // The rows of a request are drawn from a table so many times as large.
  int64_t table_factor = 2;
  int threads = 1;               // of a shard's computations
  at::Device device = at::kCPU;  // of the shards
};

// Each request is one batch: a pull of distinct rows of a table, a push of their gradients, or
// both, started at the same moment. Takes 1.25 * seconds and the start of the processes, which are
// forked: call it before this process has threads.
absl::StatusOr<TrafficResult> MeasureSession(const SessionTrafficOptions& options);

// Share of a core that a shard process uses over `seconds` with an open session and no requests.
absl::StatusOr<double> MeasureIdle(double seconds);

}  // namespace mixrec::bench
