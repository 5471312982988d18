// Sums over the ranks of a group, and what MPI_Allreduce takes for the same in the same run.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <ostream>

#include "collective/group.h"
#include "common/status.h"

namespace mixrec::bench {

struct AllreduceBenchOptions {
  collective::Group* group = nullptr;
  at::Device device = at::kCPU;
  double seconds = 0.5;  // of either side, for each size
  // Sums a tensor on the CPU by MPI_Allreduce.
  std::function<absl::Status(const at::Tensor&)> sum_by_mpi;
};

// A JSON line for each size from 4 KiB to 64 MiB: bytes, ranks, the median of seconds, GB/s, and
// seconds by MPI over seconds. On a GPU MPI sums the same tensor in host memory. All ranks call it,
// one prints.
absl::Status PrintAllreduceBench(const AllreduceBenchOptions& options, std::ostream& out);

}  // namespace mixrec::bench
