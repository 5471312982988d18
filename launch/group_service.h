// What a worker group does with the trials that its link brings: several side by side, each in a
// thread of its own.
#pragma once

#include <functional>
#include <string>

#include "launch/group_link.h"
#include "launch/recent_log.h"
#include "launch/trial_runner.h"

namespace mixrec::launch {

// Trains and scores a trial, or stands for it. Several threads may call it for different trials.
using TrialFunction = std::function<absl::StatusOr<worker::TrialOutcome>(
    const TrialAttempt&, const worker::SearchObjective::IntermediateCallback&)>;

// How a trial ended, and what the scheduler is told of it.
struct TrialEnd {
  absl::Status status;
  scheduler::Outcome outcome;
};
// Runs a trial, telling the link its scores; a null link, of a rank that does not lead, nothing. A
// failed trial's outcome shows the end of `log`.
TrialEnd RunTrial(const TrialFunction& run, const std::string& group, const GroupJob& job,
                  const RecentLog& log, GroupLink* link);

// Gives every trial that comes to `run`, at most `slots` at the same time, and its scores and its
// end to the link; returns when the line ends. The process's CPU threads are shared among the
// slots. A failed trial's record shows the end of `log`.
void ServeTrials(const TrialFunction& run, const std::string& group, int slots,
                 const RecentLog& log, GroupLink* link);

// What a study of sleeping trials has for the hash of its settings.
inline constexpr char kSleepingSettings[] = "sleeping";
// A trial that sleeps: for measuring what a search costs besides its trials. It scores by its
// architecture, at its end.
TrialFunction SleepingTrial(double seconds);

}  // namespace mixrec::launch
