#include "bench/bo.h"

#include "bo_driver/problems.h"
#include "bo_driver/virtual_run.h"

namespace mixrec::bench {

using bo_driver::Problem;

absl::StatusOr<nlohmann::json> RunBoBench(const BoBenchOptions& options) {
  if (options.groups < 1) return UsageError("--groups=", options.groups, ": expected 1 or more");
  if (options.evaluations < 1) {
    return UsageError("--evaluations=", options.evaluations, ": expected 1 or more");
  }
  MIXREC_ASSIGN_OR_RETURN(const bo_driver::Method method, bo_driver::ParseMethod(options.method));
  const uint64_t instance = options.instance != 0
                                ? options.instance
                                : bo_driver::FirstInstance(options.problem) + options.seed % 5;
  MIXREC_ASSIGN_OR_RETURN(const Problem problem, bo_driver::MakeProblem(options.problem, instance));
  const bo_driver::VirtualRunResult result =
      bo_driver::RunVirtually(problem, {method, options.seed, options.groups, options.evaluations});
  nlohmann::json line = {{"problem", options.problem},
                         {"instance", instance},
                         {"seed", options.seed},
                         {"method", options.method},
                         {"groups", options.groups},
                         {"evaluations", options.evaluations},
                         {"incumbent", problem.space.Text(result.incumbent)},
                         {"incumbent_value", result.value},
                         {"incumbent_observed", result.observed},
                         {"seconds_per_suggestion", result.ask_seconds},
                         {"max_seconds_per_suggestion", result.slowest_ask_seconds}};
  if (const auto reference = bo_driver::FindReference(options.problem, instance)) {
    line["score"] = reference->Score(result.value);
  }
  return line;
}

}  // namespace mixrec::bench
