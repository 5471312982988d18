// `mixrec bench score`: how many users a second are scored against every item.
#pragma once

#include <nlohmann/json.hpp>

#include "bench/step.h"

namespace mixrec::bench {

// Recommends ten items to every user of the data, from the whole history with all items ranked,
// over a random backbone of the shape with random adapters. Packing included. Returns {"shape",
// "device", "users", "tokens", "users_per_second", "tokens_per_second", "useful_gflops",
// "seconds"}; the useful work is 2 * (5 D^2 + 2 D F) * L FLOPs a token.
absl::StatusOr<nlohmann::json> RunScoreBench(const data::Dataset& dataset,
                                             const data::Catalogue& catalogue,
                                             const StepBenchOptions& options);

}  // namespace mixrec::bench
