// The figures of a study's report. Each is drawn for a width, so that a phone gets one of its own
// instead of a small picture of a large one. Adapter kinds keep their colour everywhere. Private to
// the report.
#pragma once

#include <string>
#include <vector>

#include "bo_driver/figure.h"
#include "bo_driver/study_model.h"
#include "scheduler/study_view.h"

namespace mixrec::bo_driver {

// CSS classes of the adapter kinds in a layer, and their names.
inline constexpr const char* kKinds[] = {"causal", "context", "recommendation"};
inline constexpr const char* kKindNames[] = {"causal expert", "context expert",
                                             "recommendation adapter"};
// Below this width a figure is one for a phone.
inline constexpr double kNarrow = 420;

// One short line about a trial, for tooltips.
std::string TrialTitle(const scheduler::TrialRecord& trial);
// What an unfinished trial is at: "trial 12, epoch 2, score 0.0634, for 3 min". `now` as in
// TimelineFigure; 0: without the time.
std::string TrialProgress(const scheduler::TrialRecord& trial, double now);
// Layers of the trial's bits.
int LayersOf(const scheduler::TrialRecord& trial);

// Score by trial, and the best so far; failed trials as crosses at the bottom.
Figure HistoryFigure(const scheduler::StudyView& view, double width);

// The bits of a trial as path data, one a kind and state: parallel ones high, serial ones low, so
// that the picture needs no colour. A layer is 4 units wide, a row `height` high.
struct BitsPaths {
  std::string parallel[3], serial[3];
};
BitsPaths DrawBits(const std::string& bits, double left, double top, double unit, double height);
// Every complete trial's bits, best first.
Figure ArchitecturesFigure(const scheduler::StudyView& view, double width);

// Layers by kinds, the top layer first. A cell shows the effect of parallel instead of serial and
// two standard errors to both sides; what is not clear of zero is pale.
Figure EffectsFigure(const StudyModel& model, double width);
// Layers by kinds: how often a bit is parallel among the best trials, and among all.
Figure FrequencyFigure(const scheduler::StudyView& view, double width);
// Number of trials that FrequencyFigure calls the best; 0: too few to draw.
int BestCount(const scheduler::StudyView& view);
Figure InteractionsFigure(const StudyModel& model, double width);

// Observed against predicted from all other trials, with two standard deviations.
Figure LeaveOneOutFigure(const StudyModel& model, double width);

// Scores after each epoch, of every trial.
Figure CurvesFigure(const scheduler::StudyView& view, double width);

// Who worked on which trial when: a lane for each slot of a group. `now` in seconds since 1970 ends
// what is still going on; 0: the last thing that the journal knows.
Figure TimelineFigure(const scheduler::StudyView& view, double now, double width);

}  // namespace mixrec::bo_driver
