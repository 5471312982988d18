// `mixrec bench bo`: how well and how fast the search is on known test problems (docs/search.md).
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

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
  // Seed s uses instance first_instance + s mod 5 of every problem; 0: the listed ones. What is not
  // listed is scored by computed references, half a minute an instance.
  uint64_t first_instance = 0;
  std::string methods = "auto,pr,local,climb,random";
  std::string problems = "nk2,nk4,arch,contam";
};
// Mean score and its standard error by problem and method, as a Markdown table; the first method's
// paired differences from the others; and the mean score of all problems after every so many
// results.
absl::Status PrintBoTable(const BoTableOptions& options, std::ostream& out);

struct BoCostOptions {
  std::string problem = "arch";
  std::string method = "auto";
  uint64_t seed = 20;
  int suggestions = 10;  // timed in each place of the table
  std::vector<int> observations = {30, 120, 500};
  std::vector<int> pending = {0, 4, 32};
};
// CPU time of a suggestion, the fit to the result before it included, by how many results there are
// and how many points are pending: mean and slowest, as a Markdown table.
absl::Status PrintBoCost(const BoCostOptions& options, std::ostream& out);

}  // namespace mixrec::bench
