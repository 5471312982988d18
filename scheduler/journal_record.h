// The records of a study journal: one JSON object each, in Optuna's journal format. Private to the
// journal.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "scheduler/journal.h"

namespace mixrec::scheduler {

// Optuna's operation numbers. Those left out are read over (system attributes, written by
// dashboards) or refused (deletion of a study).
enum class Operation {
  kCreateStudy = 0,
  kDeleteStudy = 1,
  kStudyAttribute = 2,
  kStudySystemAttribute = 3,
  kCreateTrial = 4,
  kTrialParameter = 5,
  kTrialState = 6,
  kIntermediateValue = 7,
  kTrialAttribute = 8,
  kTrialSystemAttribute = 9,
};

using TrialAttributes = std::map<std::string, nlohmann::json>;

nlohmann::json CreateStudyRecord(const std::string& name, bool maximise);
nlohmann::json StudyAttributeRecord(const std::string& key, const nlohmann::json& value);
nlohmann::json CreateTrialRecord(const std::vector<TrialParameter>& parameters,
                                 const TrialAttributes& attributes, const std::string& now);
nlohmann::json IntermediateValueRecord(int number, int step, double value);
nlohmann::json TrialAttributeRecord(int number, const std::string& key,
                                    const nlohmann::json& value);
nlohmann::json TrialStateRecord(int number, TrialState state, std::optional<double> value,
                                const std::string& now);

// "2026-01-31T23:59:59.123456+00:00".
std::string UtcNow();

// Applies one record to a study. DataError without a place when the record makes no sense.
absl::Status ApplyRecord(const nlohmann::json& record, StudyRecord* study);

}  // namespace mixrec::scheduler
