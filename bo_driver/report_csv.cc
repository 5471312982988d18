#include <absl/strings/str_format.h>

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

}  // namespace

std::string TrialsCsv(const scheduler::StudyRecord& study) {
  std::string csv =
      "number,state,value,seconds,source,acquisition,architecture,started,completed,reason\n";
  for (const scheduler::TrialRecord& trial : study.trials) {
    csv +=
        StrCat(trial.number, ",", scheduler::TrialStateName(trial.state), ",", Field(trial.value),
               ",", Field(trial.Number(scheduler::kSecondsAttribute)), ",",
               Field(trial.Text(kSourceAttribute)), ",", Field(trial.Number(kAcquisitionAttribute)),
               ",", Field(trial.Text(kBitsAttribute)), ",", trial.started, ",", trial.completed,
               ",", Field(trial.Text(scheduler::kReasonAttribute)), "\n");
  }
  return csv;
}

}  // namespace mixrec::bo_driver
