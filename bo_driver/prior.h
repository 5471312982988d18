// What an earlier study tells a new one (`--warm_start`).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bo_driver/search_space.h"
#include "scheduler/journal.h"

namespace mixrec::bo_driver {

// A result in the earlier study's own units: mean 0, standard deviation 1.
struct PriorEvaluation {
  Point point;
  double standardised = 0;
};

// Bits of another number of layers: each layer takes those at its relative depth.
std::string MapLayers(const std::string& bits, int bits_per_layer, int layers);

// The complete trials of `study` as points of `space`; ordinals that it did not vary get
// `defaults`, by name (else their first level), and values between levels the nearest one.
// DataError when it has fewer than two results.
absl::StatusOr<std::vector<PriorEvaluation>> PriorOf(const scheduler::StudyRecord& study,
                                                     const SearchSpace& space,
                                                     const std::map<std::string, double>& defaults);

// As the journal keeps it.
nlohmann::json PriorToJson(const SearchSpace& space, const std::vector<PriorEvaluation>& prior);
absl::StatusOr<std::vector<PriorEvaluation>> PriorFromJson(const SearchSpace& space,
                                                           const nlohmann::json& json);

}  // namespace mixrec::bo_driver
