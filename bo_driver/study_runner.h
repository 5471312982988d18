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
#include "common/status.h"
#include "scheduler/journal.h"

namespace mixrec::bo_driver {

struct StudyOptions {
  std::string name = "mixrec";
  int layers = 0;   // DAMoE layers; 3 bits each
  int trials = 30;  // finished trials in total, over all restarts; failed ones do not count
  uint64_t seed = 1;
  Method method = Method::kAuto;
  int initial = 0;  // see DriverOptions; frozen when the study is created
  int groups = 1;
  std::vector<std::string> baselines;  // architectures to try first, after all serial and parallel
  // Whatever else defines the objective (data hash, backbone hash, epochs, fraction ...): compared
  // when the study is opened again, stored as attributes of the study, shown in the report.
  std::map<std::string, std::string> settings;
};

// A trial to evaluate.
struct Trial {
  int number = 0;
  std::string bits;                   // the architecture, model/architecture.h's text form
  std::string source;                 // "baseline", "random", "pr", "local" or "climb"
  std::optional<double> acquisition;  // log expected improvement, when a surrogate chose it
  bool again = false;                 // was running when an earlier process ended
};

// A finished trial, as the table of the best shows it.
struct TrialResult {
  int number = 0;
  std::string bits;
  std::string source;
  double value = 0;
  double seconds = 0;
  std::optional<double> acquisition;
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
  absl::Status ReportIntermediate(int number, int epoch, double value);
  // `value` must be finite; a non-finite one counts as Fail.
  absl::Status Finish(int number, double value, double seconds);
  absl::Status Fail(int number, const std::string& reason);

  int finished() const;  // complete trials
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
