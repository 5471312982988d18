// One architecture study on disk: the driver's suggestions and their results in a journal.
//
// The journal is the only state. A killed study goes on when it is opened again: finished trials
// are neither lost nor repeated, a trial that was running is given out again under its own number,
// and the suggestions that follow are those of an undisturbed study. One thread, one process.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bo_driver/driver.h"
#include "bo_driver/study_definition.h"
#include "bo_driver/study_results.h"
#include "bo_driver/study_strategy.h"
#include "common/status.h"
#include "scheduler/journal.h"

namespace mixrec::bo_driver {

// A trial to evaluate.
struct Trial {
  int number = 0;
  std::string bits;                   // the architecture, model/architecture.h's text form
  std::string source;                 // "baseline", "random", "pr", "local", "near" or "climb"
  std::optional<double> acquisition;  // log expected improvement, when a surrogate chose it
  bool again = false;                 // was running when an earlier process ended
  int attempt = 1;                    // goes up each time that it is given out
  TrialWork work;
};

class Study {
 public:
  // Opens FOLDER/study.journal, or creates it (and the folder). UsageError with the difference when
  // an existing study was created with other options; a larger (or smaller) number of trials is
  // allowed, and so are other groups.
  static absl::StatusOr<Study> OpenOrCreate(const std::string& folder, const StudyOptions& options);
  Study(Study&&) noexcept;
  Study& operator=(Study&&) noexcept;
  ~Study();

  // The next trial, journalled as running before it is returned. nullopt when the budget is
  // finished, or when the space is (exhausted() tells). FailureError when most trials fail.
  absl::StatusOr<std::optional<Trial>> NextTrial();
  // A score after an epoch. Whether the trial goes on: a hopeless one has been journalled as pruned
  // and has neither Finish nor Fail to come. An epoch that is there already changes nothing.
  absl::StatusOr<bool> ReportIntermediate(int number, int epoch, double value);
  // `value` must be finite; a non-finite one counts as Fail.
  absl::Status Finish(int number, double value, double seconds);
  // `log`: what was logged last; empty: nothing to keep.
  absl::Status Fail(int number, const std::string& reason, const std::string& log = "");

  int finished() const;  // complete and pruned trials, without replicates
  int failed() const;
  bool exhausted() const;                   // every architecture has been tried
  std::optional<TrialResult> best() const;  // best observed score
  // The evaluated architecture with the best posterior mean; less swayed by noise than best().
  std::optional<TrialResult> best_by_mean() const;
  std::vector<TrialResult> BestTrials(int count) const;
  // The best trials as an aligned text table, one line a trial, with a header line.
  std::string BestTable(int count) const;
  ModelSummary Model() const;
  // A line for the log when the surrogate explains nothing, else empty.
  std::string Warning() const;

  const std::string& folder() const;
  const scheduler::StudyRecord& record() const;
  // Writes FOLDER/report.html and FOLDER/trials.csv (report.h).
  absl::Status WriteReport() const;

 private:
  struct State;
  explicit Study(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace mixrec::bo_driver
