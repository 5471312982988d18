#include "bo_driver/study_results.h"

#include <absl/strings/str_format.h>

#include <algorithm>

#include "bo_driver/study_definition.h"
#include "scheduler/lease.h"

namespace mixrec::bo_driver {

using scheduler::StudyRecord;
using scheduler::TrialRecord;
using scheduler::TrialState;

TrialResult ResultOf(const StudyRecord& study, const TrialRecord& trial) {
  TrialResult result;
  result.number = trial.number;
  result.bits = trial.Text(kBitsAttribute);
  result.source = trial.Text(kSourceAttribute);
  result.seconds = trial.Number(scheduler::kSecondsAttribute).value_or(0);
  result.acquisition = trial.Number(kAcquisitionAttribute);
  for (const char* name : {kReplaceEvery, kBottleneck}) {
    if (const auto value = trial.Number(name)) result.values[name] = static_cast<int64_t>(*value);
  }
  double sum = trial.value.value_or(0);
  for (const TrialRecord& other : study.trials) {
    const bool repeats = other.Number(kReplicateAttribute).value_or(-1) == trial.number;
    if (!repeats || other.state != TrialState::kComplete || !other.value) continue;
    sum += *other.value;
    ++result.evaluations;
  }
  result.value = sum / result.evaluations;
  return result;
}

std::vector<TrialResult> BestTrials(const StudyRecord& study, int count) {
  std::vector<TrialResult> best;
  for (const TrialRecord* trial : study.Ranked()) {
    if (trial->attributes.count(kReplicateAttribute) == 0) best.push_back(ResultOf(study, *trial));
  }
  std::stable_sort(best.begin(), best.end(), [](const TrialResult& a, const TrialResult& b) {
    const bool a_repeated = a.evaluations > 1, b_repeated = b.evaluations > 1;
    return a_repeated != b_repeated ? a_repeated : a.value > b.value;
  });
  if (best.size() > static_cast<size_t>(count)) best.resize(static_cast<size_t>(count));
  return best;
}

const TrialRecord* WinnerOf(const StudyRecord& study) {
  const std::vector<TrialResult> best = BestTrials(study, 1);
  return best.empty() ? nullptr : &study.trials[static_cast<size_t>(best.front().number)];
}

std::string MeanText(const TrialResult& result) {
  return result.evaluations > 1 ? StrCat(", mean of ", result.evaluations) : "";
}

std::string BestTable(const StudyRecord& study, int count) {
  const std::vector<TrialResult> best = BestTrials(study, count);
  size_t width = 12;
  for (const TrialResult& trial : best) width = std::max(width, trial.bits.size());
  std::string table = absl::StrFormat("%4s  %5s  %9s  %-*s  %-9s  %8s\n", "rank", "trial", "score",
                                      static_cast<int>(width), "architecture", "source", "seconds");
  int rank = 0;
  for (const TrialResult& trial : best) {
    table +=
        absl::StrFormat("%4d  %5d  %9.6f  %-*s  %-9s  %8.1f", ++rank, trial.number, trial.value,
                        static_cast<int>(width), trial.bits, trial.source, trial.seconds);
    for (const auto& [name, value] : trial.values) table += StrCat("  ", name, "=", value);
    if (trial.evaluations > 1) table += StrCat("  mean of ", trial.evaluations);
    table += "\n";
  }
  return table;
}

}  // namespace mixrec::bo_driver
