#include "bench/bo.h"
#include "launch/commands.h"
#include "launch/flags.h"
#include "launch/flags_search.h"

namespace mixrec::launch {
namespace {

absl::Status PrintTable(const Invocation& invocation) {
  bench::BoTableOptions options;
  options.seeds = static_cast<int>(FLAGS_seeds);
  options.groups = static_cast<int>(FLAGS_groups);
  options.evaluations = static_cast<int>(FLAGS_evaluations);
  if (invocation.IsGiven("seed")) options.first_seed = static_cast<uint64_t>(FLAGS_seed);
  // A single method is shown beside those that it has to beat.
  if (invocation.IsGiven("method")) {
    options.methods = FLAGS_method;
    for (const char* other : {"climb", "random"}) {
      if (FLAGS_method != other) options.methods += StrCat(",", other);
    }
  }
  if (invocation.IsGiven("problem")) options.problems = FLAGS_problem;
  options.first_instance = static_cast<uint64_t>(FLAGS_instance);
  return bench::PrintBoTable(options, *invocation.out);
}

absl::Status PrintCost(const Invocation& invocation) {
  bench::BoCostOptions options;
  options.problem = FLAGS_problem;
  options.method = FLAGS_method;
  options.seed = static_cast<uint64_t>(FLAGS_seed);
  return bench::PrintBoCost(options, *invocation.out);
}

}  // namespace

absl::Status RunBenchBo(const Invocation& invocation) {
  if (FLAGS_check) return bench::CheckBoProblems(*invocation.out);
  if (FLAGS_table) return PrintTable(invocation);
  if (FLAGS_cost) return PrintCost(invocation);
  bench::BoBenchOptions options;
  options.problem = FLAGS_problem;
  options.instance = static_cast<uint64_t>(FLAGS_instance);
  options.seed = static_cast<uint64_t>(FLAGS_seed);
  options.method = FLAGS_method;
  options.groups = static_cast<int>(FLAGS_groups);
  options.evaluations = static_cast<int>(FLAGS_evaluations);
  MIXREC_ASSIGN_OR_RETURN(const nlohmann::json result, bench::RunBoBench(options));
  *invocation.out << result.dump() << "\n";
  return absl::OkStatus();
}

}  // namespace mixrec::launch
