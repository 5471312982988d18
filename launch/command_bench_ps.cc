#include <algorithm>

#include "bench/ps.h"
#include "launch/commands.h"
#include "launch/flags.h"

namespace mixrec::launch {

// Before this process computes anything, or asks for a GPU: the benchmark forks.
absl::Status RunBenchPs(const Invocation& invocation) {
  bench::PsBenchOptions options;
  options.seconds = FLAGS_seconds;
  options.rounds = static_cast<int>(FLAGS_rounds);
  options.threads = std::max(1, static_cast<int>(FLAGS_threads));
  if (FLAGS_device == "cuda") options.device = at::Device(at::kCUDA, 0);
  return bench::PrintPsBench(options, *invocation.out);
}

}  // namespace mixrec::launch
