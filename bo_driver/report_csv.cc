#include <absl/strings/str_format.h>

#include <algorithm>

#include "bo_driver/report.h"
#include "bo_driver/study_definition.h"
#include "scheduler/lease.h"

namespace mixrec::bo_driver {
namespace {

// A field of a CSV line: quoted when it must be (RFC 4180).
std::string Field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

std::string Field(const std::optional<double>& number) {
  return number ? absl::StrFormat("%.10g", *number) : "";
}

// The numbers that are searched besides the bits, in the order of the columns.
std::vector<std::string> SearchedNumbers(const scheduler::StudyRecord& study) {
  std::vector<std::string> names;
  for (const char* name : {kReplaceEvery, kBottleneck}) {
    const bool searched =
        std::any_of(study.trials.begin(), study.trials.end(),
                    [&](const auto& trial) { return trial.Number(name).has_value(); });
    if (searched) names.emplace_back(name);
  }
  return names;
}

}  // namespace

std::string TrialsCsv(const scheduler::StudyRecord& study) {
  const std::vector<std::string> numbers = SearchedNumbers(study);
  std::string csv = "number,state,value,seconds,source,acquisition,architecture";
  for (const std::string& name : numbers) csv += StrCat(",", name);
  csv += ",started,completed,reason\n";
  for (const scheduler::TrialRecord& trial : study.trials) {
    csv += StrCat(
        trial.number, ",", scheduler::TrialStateName(trial.state), ",", Field(trial.value), ",",
        Field(trial.Number(scheduler::kSecondsAttribute)), ",", Field(trial.Text(kSourceAttribute)),
        ",", Field(trial.Number(kAcquisitionAttribute)), ",", Field(trial.Text(kBitsAttribute)));
    for (const std::string& name : numbers) csv += StrCat(",", Field(trial.Number(name)));
    csv += StrCat(",", trial.started, ",", trial.completed, ",",
                  Field(trial.Text(scheduler::kReasonAttribute)), "\n");
  }
  return csv;
}

}  // namespace mixrec::bo_driver
