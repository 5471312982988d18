#include "tests/simulation/search_check.h"

#include <map>

#include "scheduler/codec.h"
#include "scheduler/journal.h"

namespace mixrec::scheduler {
namespace {

int CheckTrials(const StudyRecord& study, Shared* shared) {
  int used = 0, attempts = 0;
  for (const TrialRecord& trial : study.trials) {
    attempts += LeaseOf(trial).attempt;
    used += trial.state != TrialState::kFailed;
    if (!trial.finished()) shared->Violate(StrCat("trial ", trial.number, " has not ended"));
    const auto told = shared->results.find(trial.number);
    if (trial.value && (told == shared->results.end() || told->second != *trial.value)) {
      shared->Violate(StrCat("trial ", trial.number, " has another result than the first"));
    }
  }
  const int trials = shared->options.trials;
  if (used != trials && static_cast<int>(study.trials.size()) < 3 * trials) {
    shared->Violate(StrCat(used, " trials instead of ", trials));
  }
  return attempts;
}

// Lines of the journal that end a trial, counted as text.
void CheckRecords(const std::string& journal, Shared* shared) {
  std::map<int, int> ends;
  size_t begin = 0;
  for (size_t end; (end = journal.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const auto record = nlohmann::json::parse(journal.substr(begin, end - begin));
    if (record.value("op_code", -1) == 6) ++ends[record.at("trial_id").get<int>()];
  }
  for (const auto& [trial, count] : ends) {
    if (count != 1) shared->Violate(StrCat("trial ", trial, " has ", count, " results"));
  }
}

}  // namespace

int CheckJournal(const std::string& journal, Shared* shared) {
  const auto study = ReplayJournal(journal, "journal");
  if (!study.ok()) {
    shared->Violate(std::string(study.status().message()));
    return 0;
  }
  const int attempts = CheckTrials(*study, shared);
  CheckRecords(journal, shared);
  return attempts;
}

std::string DescribeSearchMessage(const net::Message& message) {
  const absl::StatusOr<Body> body = Decode(message);
  if (!body.ok()) return "malformed";
  std::string text;
  if (const auto* report = std::get_if<GroupReport>(&*body)) {
    text = StrCat("report #", report->sequence, report->ready ? "" : " (not ready)",
                  report->group.state == GroupState::kLeft ? " leaves" : "");
    for (const HeldTrial& held : report->trials) {
      text += StrCat(" ", held.id.trial, "/", held.id.attempt, ":",
                     static_cast<int>(held.outcome.kind));
    }
  } else {
    const auto& assignment = std::get<Assignment>(*body);
    text = StrCat("assignment #", assignment.number, " to report ", assignment.heard);
    for (const auto& trial : assignment.trials)
      text += StrCat(" ", trial.id.trial, "/", trial.id.attempt);
    for (const auto& id : assignment.settled)
      text += StrCat(" settled ", id.trial, "/", id.attempt);
  }
  return text;
}

}  // namespace mixrec::scheduler
