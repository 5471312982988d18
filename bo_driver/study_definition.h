// What a study is, as its journal keeps it, and the driver that its journal stands for.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bo_driver/driver.h"
#include "bo_driver/study_runner.h"
#include "scheduler/journal.h"

namespace mixrec::bo_driver {

// Names of study and trial attributes in the journal.
inline constexpr char kDefinitionAttribute[] = "definition";    // of the study, see Definition
inline constexpr char kBitsAttribute[] = "architecture";        // of a trial, the 3L bits
inline constexpr char kSourceAttribute[] = "source";            // who suggested it
inline constexpr char kAcquisitionAttribute[] = "acquisition";  // log expected improvement
inline constexpr char kSecondsAttribute[] = "seconds";          // the evaluation took
inline constexpr char kReasonAttribute[] = "reason";            // why a trial failed
inline constexpr char kRestartsAttribute[] = "restarts";        // times a trial was given out again

// The search space of L layers with 3 bits each.
SearchSpace ArchitectureSpace(int layers);
// One parameter a bit: "layer00.causal", "layer00.context", "layer00.recommendation", ... with the
// choices "serial" and "parallel".
std::vector<scheduler::TrialParameter> ArchitectureParameters(const std::string& bits);

// The driver's options for a study. UsageError for a malformed baseline or number.
absl::StatusOr<DriverOptions> DriverOptionsOf(const StudyOptions& options);

// {"layers", "seed", "method", "initial", "baselines", "settings": {...}}; `initial` resolved.
nlohmann::json Definition(const StudyOptions& options, const DriverOptions& driver_options);

// Empty when `wanted` continues the study of `stored`; else one line a difference.
std::string DefinitionDifferences(const nlohmann::json& stored, const nlohmann::json& wanted);

// The driver as it was when the last record was written, by replaying asks and tells in order.
// DataError when a trial is none of this study's.
absl::StatusOr<Driver> ReplayStudy(const scheduler::StudyRecord& study);

}  // namespace mixrec::bo_driver
