// One attempt at a trial: its folder, its tables' namespace, its training, and how it ended.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "bo_driver/study_strategy.h"
#include "launch/materials.h"
#include "launch/ranks.h"
#include "launch/search_setup.h"
#include "scheduler/protocol.h"
#include "worker/search_objective.h"

namespace mixrec::launch {

struct TrialAttempt {
  int number = 0, attempt = 1;
  bo_driver::TrialWork work;
  std::string who;             // before messages, "group g1: "; may be empty
  std::function<bool()> stop;  // asked after every step; null: the process's stop signal alone
};

class TrialRunner {
 public:
  // `study`: StudyRequest's; `table`: the program's flags. The objective's materials must stay. Of
  // several ranks, which share the objective's group, all run the same trials; the trial's folder
  // is the leader's.
  TrialRunner(StudyBrief brief, RunRequest study, const FlagTable* table,
              worker::SearchObjective objective, const Ranks* ranks);

  // Trains from the newest checkpoint of earlier attempts and scores. Several threads may run
  // different trials. Errors are the objective's: StoppedError when it was asked to stop, with a
  // checkpoint; MemoryError; NotFiniteError; UsageError for an architecture that the model refuses.
  absl::StatusOr<worker::TrialOutcome> Run(
      const TrialAttempt& attempt,
      const worker::SearchObjective::IntermediateCallback& on_epoch) const;

  const worker::SearchObjective& objective() const { return objective_; }

 private:
  RunRequest RequestOf(const TrialAttempt& attempt, const std::string& folder) const;
  // The trial's folder, or, when somebody who was given up for lost still holds it, one of the
  // attempt's own.
  absl::StatusOr<RunFolder> OpenFolder(const TrialAttempt& attempt) const;
  // As every rank sees it.
  absl::StatusOr<RunFolder> OpenTogether(const TrialAttempt& attempt) const;
  absl::StatusOr<worker::TrialOutcome> RunIn(
      const std::string& folder, const TrialAttempt& attempt,
      const worker::SearchObjective::IntermediateCallback& on_epoch) const;

  const StudyBrief brief_;
  const RunRequest study_;
  const FlagTable* const table_;
  const worker::SearchObjective objective_;
  const Ranks* const ranks_;
};

// What the scheduler is told.
scheduler::Outcome OutcomeOf(const absl::StatusOr<worker::TrialOutcome>& result, double seconds,
                             const std::string& log);

}  // namespace mixrec::launch
