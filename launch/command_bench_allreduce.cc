#include "bench/allreduce.h"
#include "launch/commands.h"
#include "launch/flags.h"
#include "launch/options.h"
#include "launch/ranks.h"

namespace mixrec::launch {
namespace {

absl::Status Measure(const Invocation& invocation, Ranks* ranks) {
  if (ranks->group() == nullptr) {
    return UsageError("start it by mpirun: mpirun -n 4 mixrec bench allreduce");
  }
  MIXREC_ASSIGN_OR_RETURN(const Compute compute, SetUpCompute());
  bench::AllreduceBenchOptions options;
  MIXREC_ASSIGN_OR_RETURN(options.group, ranks->GroupOn(compute.device));
  options.device = compute.device;
  options.seconds = FLAGS_seconds;
  options.sum_by_mpi = [ranks](const at::Tensor& tensor) {
    return ranks->world()->SumByMpi(tensor);
  };
  return bench::PrintAllreduceBench(options, *invocation.out);
}

}  // namespace

absl::Status RunBenchAllreduce(const Invocation& invocation) {
  return RunAmongRanks(invocation, Measure);
}

}  // namespace mixrec::launch
