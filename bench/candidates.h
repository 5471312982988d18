// `mixrec bench step --candidates=K`: K models of different architectures trained side by side on
// one device over one backbone and the same users: steps of all of them (worker/side_by_side.h),
// each driven by a thread.
#pragma once

#include <nlohmann/json.hpp>

#include "bench/step.h"

namespace mixrec::bench {

// Measures one model, then `candidates` at the same time. Returns {"candidates", "batch",
// "alone_users_per_second", "together_users_per_second" (of all of them), "speedup", ...}.
absl::StatusOr<nlohmann::json> RunCandidatesBench(const data::Dataset& dataset,
                                                  const data::Catalogue& catalogue,
                                                  const StepBenchOptions& options, int candidates);

}  // namespace mixrec::bench
