#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/str_format.h"
#include "bo_driver/report_figures.h"
#include "bo_driver/study_definition.h"

namespace mixrec::bo_driver {
namespace {

using scheduler::Lease;
using scheduler::SecondsOf;
using scheduler::StudyView;
using scheduler::TrialRecord;
using scheduler::TrialState;

// A stretch of work of a group on a trial.
struct Stretch {
  const TrialRecord* trial;
  std::string group;
  double from, to;
  const char* css;
  size_t lane = 0;
};

const char* EndOf(const TrialRecord& trial) {
  switch (trial.state) {
    case TrialState::kComplete:
      return "work complete";
    case TrialState::kPruned:
      return "work pruned-work";
    case TrialState::kFailed:
      return "work failed-work";
    default:
      return "work running-work";
  }
}

void AddStretches(const TrialRecord& trial, double now, std::vector<Stretch>* stretches) {
  const std::optional<double> completed = SecondsOf(trial.completed);
  const double end = trial.finished() ? completed.value_or(now) : now;
  const std::vector<Lease> leases = scheduler::LeasesOf(trial);
  if (leases.empty()) {  // a study of one process
    const double from = SecondsOf(trial.started).value_or(end);
    stretches->push_back({&trial, "", from, end, EndOf(trial)});
    return;
  }
  for (size_t i = 0; i < leases.size(); ++i) {
    const std::optional<double> from = SecondsOf(leases[i].at);
    if (!leases[i].held() || !from) continue;
    const bool last = i + 1 == leases.size();
    const double to = last ? end : SecondsOf(leases[i + 1].at).value_or(end);
    stretches->push_back(
        {&trial, leases[i].group, *from, std::max(*from, to), last ? EndOf(trial) : "work lost"});
  }
}

double LastMoment(const StudyView& view) {
  double last = 0;
  for (const TrialRecord& trial : view.study.trials) {
    last = std::max(
        {last, SecondsOf(trial.started).value_or(0), SecondsOf(trial.completed).value_or(0)});
    for (const Lease& lease : scheduler::LeasesOf(trial)) {
      last = std::max(last, SecondsOf(lease.at).value_or(0));
    }
  }
  return last;
}

// Gives each stretch the first lane of its group that is free; returns the lanes of each group.
std::map<std::string, size_t> AssignLanes(std::vector<Stretch>* stretches) {
  std::stable_sort(stretches->begin(), stretches->end(),
                   [](const Stretch& a, const Stretch& b) { return a.from < b.from; });
  std::map<std::string, std::vector<double>> free_from;
  std::map<std::string, size_t> lanes;
  for (Stretch& stretch : *stretches) {
    std::vector<double>& ends = free_from[stretch.group];
    stretch.lane =
        static_cast<size_t>(std::find_if(ends.begin(), ends.end(),
                                         [&](double end) { return end <= stretch.from + 1e-6; }) -
                            ends.begin());
    if (stretch.lane == ends.size()) ends.push_back(0);
    ends[stretch.lane] = stretch.to;
    lanes[stretch.group] = ends.size();
  }
  return lanes;
}

// Seconds, minutes or hours, whichever gives small numbers.
struct Unit {
  double seconds;
  const char* name;
};

Unit UnitOf(double span) {
  if (span < 180) return {1, "seconds"};
  if (span < 3 * 3600) return {60, "minutes"};
  if (span < 4 * 86400) return {3600, "hours"};
  return {86400, "days"};
}

}  // namespace

Figure TimelineFigure(const StudyView& view, double now, double width) {
  if (now <= 0) now = LastMoment(view);
  std::vector<Stretch> stretches;
  for (const TrialRecord& trial : view.study.trials) AddStretches(trial, now, &stretches);
  const std::map<std::string, size_t> lanes = AssignLanes(&stretches);
  const double lane_height = 18, top = 6, left = width < kNarrow ? 74 : 130;
  size_t count = 0;
  std::map<std::string, double> offsets;
  for (const auto& [group, number] : lanes) {
    offsets[group] =
        top + lane_height * static_cast<double>(count) + 6 * static_cast<double>(offsets.size());
    count += number;
  }
  const double bottom =
      top + lane_height * static_cast<double>(count) + 6 * static_cast<double>(offsets.size());
  Figure figure(width, bottom + 40, "Who worked on which trial when");
  Range times;
  for (const Stretch& stretch : stretches) {
    times.Include(stretch.from);
    times.Include(stretch.to);
  }
  const Axis absolute = times.Fit(left, width - 10, 0);
  const Unit unit = UnitOf(absolute.high() - absolute.low());
  const Axis axis(0, (absolute.high() - absolute.low()) / unit.seconds, left, width - 10);
  figure.HorizontalAxis(axis, bottom, unit.name, width < kNarrow ? 4 : 10);
  for (const auto& [group, offset] : offsets) {
    const std::string name = group.empty() ? "this process" : group;
    const size_t fits = width < kNarrow ? 10 : 18;
    figure.Text(
        "tick", left - 8, offset + 13, Align::kRight,
        name.size() <= fits ? name : StrCat("\xE2\x80\xA6", name.substr(name.size() - fits)));
  }
  for (const Stretch& stretch : stretches) {
    const double x = absolute(stretch.from), end = std::max(absolute(stretch.to), x + 1.5);
    const double y = offsets.at(stretch.group) + lane_height * static_cast<double>(stretch.lane);
    figure.BeginTrial(stretch.trial->number);
    figure.Rectangle(
        stretch.css, x + 0.5, y + 1, end - x - 1, lane_height - 3,
        StrCat(TrialTitle(*stretch.trial), ", ", DurationText(stretch.to - stretch.from)));
    if (end - x > 22) {
      figure.Text("inside", (x + end) / 2, y + 13, Align::kMiddle, StrCat(stretch.trial->number));
    }
    figure.EndTrial();
  }
  return figure;
}

}  // namespace mixrec::bo_driver
