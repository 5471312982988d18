// `mixrec bench bo`: how well the search does on known test problems (docs/search.md).
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>

#include "common/status.h"

namespace mixrec::bench {

struct BoBenchOptions {
  std::string problem = "arch";  // nk2, nk4, arch, contam (arch_r has no scored run)
  uint64_t instance = 0;         // 0: the problem's first listed instance + seed % 5
  uint64_t seed = 20;            // of the driver, the noise and the virtual durations
  std::string method = "auto";   // auto, pr, local, climb, random
  int groups = 1;                // evaluations that run at the same (virtual) time
  int evaluations = 30;
};

// One run. {"problem", "instance", "seed", "method", "groups", "evaluations", "incumbent_value",
// "incumbent_observed", "incumbent", "score" (listed instances), "seconds_per_suggestion",
// "max_seconds_per_suggestion"}. UsageError for an unknown problem or method.
absl::StatusOr<nlohmann::json> RunBoBench(const BoBenchOptions& options);

// Recomputes the problems' check values; prints one line each and fails when one is off by more
// than 1e-10.
absl::Status CheckBoProblems(std::ostream& out);

struct BoTableOptions {
  uint64_t first_seed = 0;
  int seeds = 10;
  int groups = 1;
  int evaluations = 30;
  std::string methods = "auto,pr,local,climb,random";
  std::string problems = "nk2,nk4,arch,contam";
};
// Mean score and its standard error by problem and method over the listed instances (seed s uses
// instance base + s mod 5), as a Markdown table; and auto's paired differences.
absl::Status PrintBoTable(const BoTableOptions& options, std::ostream& out);

}  // namespace mixrec::bench
