#include <algorithm>

#include "absl/strings/str_format.h"
#include "bo_driver/report_figures.h"
#include "bo_driver/study_definition.h"
#include "bo_driver/study_results.h"

namespace mixrec::bo_driver {
namespace {

using scheduler::StudyRecord;
using scheduler::StudyView;
using scheduler::TrialRecord;
using scheduler::TrialState;

bool Scored(const TrialRecord& trial) {
  return trial.state == TrialState::kComplete && trial.value.has_value();
}

// The staircase of the best score so far, in the order in which trials were begun.
void BestSoFar(const StudyRecord& study, const Axis& x, const Axis& y, Figure* figure) {
  std::string data;
  std::optional<double> best;
  for (const TrialRecord& trial : study.trials) {
    if (Scored(trial) &&
        (!best || (study.maximise ? *trial.value > *best : *trial.value < *best))) {
      if (best) data += StrCat("L", At(x(trial.number), y(*best)));
      best = trial.value;
      data += StrCat(data.empty() ? "M" : "L", At(x(trial.number), y(*best)));
    }
    if (best) data += StrCat("L", At(x(trial.number), y(*best)));
  }
  if (best) figure->Path("best-line", data);
}

// The mark says who suggested the trial, by its shape: square, ring or disc.
void Mark(const TrialRecord& trial, double x, double y, bool best, Figure* figure) {
  const std::string source = trial.Text(kSourceAttribute), title = TrialTitle(trial);
  if (best) figure->Circle("halo", x, y, 10);
  if (source == "baseline" || source == "prior") {
    figure->Rectangle("dot given", x - 4, y - 4, 8, 8, title);
  } else if (source == "random") {
    figure->Circle("dot random", x, y, 4.2, title);
  } else {
    figure->Circle("dot chosen", x, y, 4.6, title);
  }
}

}  // namespace

std::string TrialTitle(const TrialRecord& trial) {
  std::string title = StrCat("trial ", trial.number, ": ", scheduler::TrialStateName(trial.state));
  if (trial.value) title += StrCat(" ", ScoreText(*trial.value));
  if (!trial.value && !trial.intermediate_values.empty()) {
    const auto& [epoch, score] = *trial.intermediate_values.rbegin();
    title += StrCat(", ", ScoreText(score), " after epoch ", epoch);
  }
  title += StrCat(", ", trial.Text(kBitsAttribute));
  const std::string source = trial.Text(kSourceAttribute),
                    reason = trial.Text(scheduler::kReasonAttribute);
  if (!source.empty()) title += StrCat(", by ", source);
  if (!reason.empty()) title += StrCat(": ", reason);
  return title;
}

std::string TrialProgress(const TrialRecord& trial, double now) {
  std::string text = StrCat("trial ", trial.number);
  if (!trial.intermediate_values.empty()) {
    const auto& [epoch, score] = *trial.intermediate_values.rbegin();
    text += StrCat(", epoch ", epoch, ", score ", ScoreText(score));
  }
  const std::optional<double> since = scheduler::SecondsOf(scheduler::LeaseOf(trial).at);
  if (since && now > 0) text += StrCat(", for ", DurationText(now - *since));
  return text;
}

Figure HistoryFigure(const StudyView& view, double width) {
  const StudyRecord& study = view.study;
  const bool narrow = width < kNarrow;
  Figure figure(width, narrow ? 250 : 300, "Score of every trial, and the best so far");
  const double left = 54, right = width - 14, bottom = figure.height() - 44;
  Range scores;
  for (const TrialRecord& trial : study.trials) {
    if (trial.value && trial.finished()) scores.Include(*trial.value);
  }
  const Axis y = scores.Fit(bottom - 22, 24);
  const int last = std::max<int>({1, static_cast<int>(study.trials.size()), view.wanted}) - 1;
  const Axis x(-0.5, last + 0.5, left, right);
  figure.VerticalAxis(y, left, right, "score");
  figure.HorizontalAxis(x, bottom, "trial", narrow ? 5 : 10, /*whole=*/true);
  BestSoFar(study, x, y, &figure);
  const TrialRecord* best = WinnerOf(view.study);
  for (const TrialRecord& trial : study.trials) {
    const double at = x(trial.number);
    figure.BeginTrial(trial.number);
    if (Scored(trial)) {
      Mark(trial, at, y(*trial.value), &trial == best, &figure);
    } else if (trial.state == TrialState::kPruned && trial.value) {
      figure.Path("pruned",
                  StrCat("M", At(at - 5, y(*trial.value)), "L", At(at + 5, y(*trial.value))),
                  TrialTitle(trial));
    } else if (trial.state == TrialState::kFailed) {
      figure.Path("failed", StrCat("M", At(at - 4, bottom - 12), "l8 8m0 -8l-8 8"),
                  TrialTitle(trial));
    } else if (!trial.finished()) {
      figure.Circle("running", at, bottom - 8, 4, TrialTitle(trial));
    }
    figure.EndTrial();
  }
  return figure;
}

}  // namespace mixrec::bo_driver
