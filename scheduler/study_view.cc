#include "scheduler/study_view.h"

#include <algorithm>
#include <cstdio>
#include <ctime>

namespace mixrec::scheduler {
namespace {

// The name of the group that delivered a trial's result.
std::string ResultOf(const TrialRecord& trial) {
  const auto found = trial.attributes.find(kResultOfAttribute);
  if (found == trial.attributes.end() || !found->second.is_object()) return "";
  const auto group = found->second.find("group");
  return group != found->second.end() && group->is_string() ? group->get<std::string>() : "";
}

void Count(StudyView* view) {
  for (const TrialRecord& trial : view->study.trials) {
    const bool held = LeaseOf(trial).held();
    switch (trial.state) {
      case TrialState::kComplete:
        ++view->complete;
        break;
      case TrialState::kPruned:
        ++view->pruned;
        break;
      case TrialState::kFailed:
        ++view->failed;
        break;
      default:
        // In a study of one process no trial has a lease.
        ++(held || view->groups.empty() ? view->running : view->waiting);
    }
  }
  view->finished = view->complete + view->pruned;
}

// Mean seconds of a finished trial that said how long it took.
std::optional<double> MeanSeconds(const StudyRecord& study) {
  double sum = 0;
  int count = 0;
  for (const TrialRecord& trial : study.trials) {
    const std::optional<double> seconds = trial.Number(kSecondsAttribute);
    if (!trial.finished() || !seconds || *seconds <= 0) continue;
    sum += *seconds;
    ++count;
  }
  if (count == 0) return std::nullopt;
  return sum / count;
}

}  // namespace

std::optional<double> SecondsOf(const std::string& utc) {
  std::tm parts{};
  double seconds = 0;
  const int read = std::sscanf(utc.c_str(), "%d-%d-%dT%d:%d:%lf", &parts.tm_year, &parts.tm_mon,
                               &parts.tm_mday, &parts.tm_hour, &parts.tm_min, &seconds);
  if (read != 6) return std::nullopt;
  parts.tm_year -= 1900;
  parts.tm_mon -= 1;
  return static_cast<double>(timegm(&parts)) + seconds;
}

StudyView ViewOf(const StudyRecord& study) {
  StudyView view;
  view.study = study;
  if (const auto status = StatusOf(study)) view.status = *status;
  for (const auto& [name, record] : GroupsOf(study)) {
    GroupView group{record, std::nullopt, {}, 0};
    for (const TrialRecord& trial : study.trials) {
      if (!trial.finished() && LeaseOf(trial).group == name) group.trials.push_back(trial.number);
      if (trial.finished() && ResultOf(trial) == name) ++group.results;
    }
    view.groups.push_back(std::move(group));
  }
  const auto budget = study.attributes.find(kBudgetAttribute);
  if (budget != study.attributes.end() && budget->second.is_number_integer()) {
    view.wanted = budget->second.get<int>();
  }
  Count(&view);
  const std::optional<double> seconds = MeanSeconds(study);
  int slots = 0;
  for (const GroupView& group : view.groups) {
    if (group.record.state == GroupState::kAlive) slots += group.record.slots;
  }
  if (view.groups.empty()) slots = 1;
  if (seconds && slots > 0) {
    const int missing = std::max(0, view.wanted - view.finished);
    view.seconds_left = *seconds * missing / slots;
  }
  return view;
}

}  // namespace mixrec::scheduler
