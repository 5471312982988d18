#include <algorithm>

#include "bench/ps.h"
#include "launch/commands.h"
#include "launch/flags.h"

namespace mixrec::launch {

// Before this process computes anything: the benchmark forks.
absl::Status RunBenchPs(const Invocation& invocation) {
  bench::PsBenchOptions options;
  options.seconds = FLAGS_seconds;
  options.rounds = static_cast<int>(FLAGS_rounds);
  options.threads = std::max(1, static_cast<int>(FLAGS_threads));
  return bench::PrintPsBench(options, *invocation.out);
}

}  // namespace mixrec::launch
