#include <absl/strings/str_format.h>

#include <algorithm>

#include "bo_driver/report.h"
#include "bo_driver/report_figures.h"
#include "bo_driver/report_tables.h"
#include "bo_driver/study_definition.h"
#include "bo_driver/study_results.h"

namespace mixrec::bo_driver {
namespace {

using absl::StrFormat;
using scheduler::GroupView;
using scheduler::StudyView;
using scheduler::TrialRecord;
using scheduler::TrialState;

constexpr int kBestShown = 5;
constexpr size_t kFailuresShown = 3;

std::string Progress(const StudyView& view) {
  std::string text = StrCat(view.study.name, ": ", scheduler::StudyPhaseName(view.status.phase));
  if (!view.status.reason.empty()) text += StrCat(" (", view.status.reason, ")");
  text += StrCat(", ", view.finished, view.wanted > 0 ? StrCat(" of ", view.wanted) : "",
                 " trials finished");
  const bool running = view.status.phase == scheduler::StudyPhase::kRunning;
  if (running && view.seconds_left) {
    text += StrCat(", about ", DurationText(*view.seconds_left), " left at the pace so far");
  }
  return text + "\n";
}

std::string Counts(const StudyView& view) {
  return StrFormat(
      "trials: %d complete, %d stopped early, %d failed, %d running, %d waiting for a group\n",
      view.complete, view.pruned, view.failed, view.running, view.waiting);
}

std::string Best(const StudyView& view) {
  const TrialRecord* best = WinnerOf(view.study);
  if (best == nullptr) return "best: no trial has finished\n";
  const TrialResult result = ResultOf(view.study, *best);
  return StrCat("best: ", ScoreText(result.value), " in trial ", best->number, MeanText(result),
                "\n\n", BestTable(view.study, kBestShown));
}

std::string Work(const StudyView& view, const GroupView& group, double now) {
  std::string work;
  for (const int number : group.trials) {
    work += StrCat(work.empty() ? "" : "; ",
                   TrialProgress(view.study.trials[static_cast<size_t>(number)], now));
  }
  const bool alive = group.record.state == scheduler::GroupState::kAlive;
  return work.empty() && alive ? "waits for a trial" : work;
}

std::string Groups(const StudyView& view, double now) {
  if (view.groups.empty()) return "";
  std::string text =
      StrCat("\ngroups: ", AliveGroups(view), " alive of ", view.groups.size(), "\n");
  size_t width = 5;
  for (const GroupView& group : view.groups) width = std::max(width, group.record.name.size());
  for (const GroupView& group : view.groups) {
    const std::string last = LastWord(group, now);
    text +=
        StrFormat("  %-*s  %-5s  %3d results  %s%s\n", static_cast<int>(width), group.record.name,
                  scheduler::GroupStateName(group.record.state), group.results,
                  Work(view, group, now), last.empty() ? "" : StrCat(" (last word ", last, ")"));
  }
  return text;
}

// The latest ones.
std::string Failures(const StudyView& view) {
  std::vector<const TrialRecord*> failed;
  for (const TrialRecord& trial : view.study.trials) {
    if (trial.state == TrialState::kFailed) failed.push_back(&trial);
  }
  std::string text;
  for (size_t i = failed.size() - std::min(failed.size(), kFailuresShown); i < failed.size(); ++i) {
    text += StrCat(text.empty() ? "\n" : "", "trial ", failed[i]->number,
                   " failed: ", failed[i]->Text(scheduler::kReasonAttribute), "\n");
  }
  return text;
}

}  // namespace

std::string StudyText(const StudyView& view, double now) {
  return StrCat(Progress(view), Counts(view), Best(view), Groups(view, now), Failures(view));
}

}  // namespace mixrec::bo_driver
