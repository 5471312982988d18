// The parameter server's softmax beside the machine's matrix product.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>

#include "common/status.h"

namespace mixrec::bench {

struct SoftmaxBenchOptions {
  int64_t states = 1024, width = 768, items = 12000;  // N, D, I
  int threads = 1;                                    // of the shard, and of the local product
  at::Device device = at::kCPU;                       // likewise
  double seconds = 1;
};

struct SoftmaxResult {
  double gflops = 0;        // GFLOP/s of executed products, both halves and the optimiser's step
  double local_gflops = 0;  // of the three products alone, in a process without a network
  double p50_us = 0, p99_us = 0;
  double cpu_us = 0;  // of worker and shard, for each request
};

// Steps of the exact softmax (first half, second half, AdamW) of one worker against one shard, and
// the same products [N, D] x [D, I], [N, I] x [I, D], [I, N] x [N, D] without anything else, in
// turns. A step executes 6 N D I operations: the exponentials of the first half are kept. Forks.
absl::StatusOr<SoftmaxResult> MeasureSoftmax(const SoftmaxBenchOptions& options);

}  // namespace mixrec::bench
