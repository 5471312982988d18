#include <algorithm>

#include "bo_driver/report_figures.h"
#include "bo_driver/study_definition.h"
#include "bo_driver/study_results.h"

namespace mixrec::bo_driver {

using scheduler::StudyView;
using scheduler::TrialRecord;
using scheduler::TrialState;

Figure LeaveOneOutFigure(const StudyModel& model, double width) {
  const bool narrow = width < kNarrow;
  Figure figure(width, narrow ? 290 : 330, "Observed scores against predicted ones");
  const double left = 54, right = width - 14, bottom = figure.height() - 44;
  Range scores;
  for (const LeftOut& trial : model.left_out) {
    scores.Include(trial.observed);
    scores.Include(trial.mean);
  }
  const Axis x = scores.Fit(left, right), y = scores.Fit(bottom - 4, 24);
  figure.VerticalAxis(y, left, right, "observed");
  figure.HorizontalAxis(x, bottom, "predicted from the other trials", narrow ? 4 : 6);
  figure.Line("diagonal", x(x.low()), y(x.low()), x(x.high()), y(x.high()));
  for (const LeftOut& trial : model.left_out) {
    const double low = std::max(trial.mean - 2 * trial.deviation, x.low()),
                 high = std::min(trial.mean + 2 * trial.deviation, x.high());
    figure.BeginTrial(trial.number);
    figure.Line("whisker pair unclear", x(low), y(trial.observed), x(high), y(trial.observed));
    figure.Circle("dot chosen", x(trial.mean), y(trial.observed), 3.6,
                  StrCat("trial ", trial.number, ": ", ScoreText(trial.observed), ", predicted ",
                         ScoreText(trial.mean)));
    figure.EndTrial();
  }
  return figure;
}

Figure CurvesFigure(const StudyView& view, double width) {
  const bool narrow = width < kNarrow;
  Figure figure(width, narrow ? 260 : 330, "Scores after each epoch");
  const double left = 54, right = width - 34, bottom = figure.height() - 44;
  Range scores, epochs;
  for (const TrialRecord& trial : view.study.trials) {
    for (const auto& [epoch, score] : trial.intermediate_values) {
      scores.Include(score);
      epochs.Include(epoch);
    }
  }
  const Axis y = scores.Fit(bottom - 4, 24), x = epochs.Fit(left + 8, right, 0);
  figure.VerticalAxis(y, left, right, "score");
  figure.HorizontalAxis(x, bottom, "epoch", narrow ? 4 : 8, /*whole=*/true);
  const TrialRecord* best = WinnerOf(view.study);
  const auto draw = [&](const TrialRecord& trial) {
    const auto& values = trial.intermediate_values;
    if (values.empty()) return;
    std::string data;
    for (const auto& [epoch, score] : values) {
      data += StrCat(data.empty() ? "M" : "L", At(x(epoch), y(score)));
    }
    const bool is_best = &trial == best;
    const std::string css = is_best                                ? "curve leading"
                            : !trial.finished()                    ? "curve open"
                            : trial.state == TrialState::kComplete ? "curve"
                                                                   : "curve cut";
    const double end_x = x(values.rbegin()->first), end_y = y(values.rbegin()->second);
    figure.BeginTrial(trial.number);
    figure.Path(css, data, TrialTitle(trial));
    if (trial.finished() && trial.state != TrialState::kComplete) {
      figure.Line("cut-end", end_x, end_y - 5, end_x, end_y + 5);
    } else if (is_best || !trial.finished() || values.size() == 1) {
      figure.Circle(StrCat("end ", css), end_x, end_y, 3.2, TrialTitle(trial));
    }
    if (is_best) figure.Text("value", end_x + 7, end_y + 4, Align::kLeft, StrCat(trial.number));
    figure.EndTrial();
  };
  // What matters more is drawn later, on top.
  for (const bool running : {false, true}) {
    for (const TrialRecord& trial : view.study.trials) {
      if (&trial != best && trial.finished() != running) draw(trial);
    }
  }
  if (best != nullptr) draw(*best);
  return figure;
}

}  // namespace mixrec::bo_driver
