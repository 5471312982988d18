#include "bo_driver/study_runner.h"

#include <absl/strings/str_format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "bo_driver/report.h"
#include "bo_driver/study_definition.h"
#include "common/file.h"
#include "common/log.h"

namespace mixrec::bo_driver {
namespace {

using nlohmann::json;
using scheduler::Journal;
using scheduler::TrialRecord;
using scheduler::TrialState;

constexpr int kToleratedFailures = 5;

TrialResult ResultOf(const TrialRecord& record) {
  return {record.number,
          record.Text(kBitsAttribute),
          record.Text(kSourceAttribute),
          record.value.value_or(0),
          record.Number(kSecondsAttribute).value_or(0),
          record.Number(kAcquisitionAttribute)};
}

// Creates the study in an empty journal, or compares the stored definition with the wanted one.
absl::Status Define(const StudyOptions& options, Journal* journal) {
  MIXREC_ASSIGN_OR_RETURN(const DriverOptions driver_options, DriverOptionsOf(options));
  json wanted = Definition(options, driver_options);
  if (!journal->study().created) {
    MIXREC_RETURN_IF_ERROR(journal->CreateStudy(options.name, /*maximise=*/true));
  }
  const auto stored = journal->study().attributes.find(kDefinitionAttribute);
  if (stored == journal->study().attributes.end()) {
    if (!journal->study().trials.empty()) {
      return DataError(journal->path(), ": has trials, but is not a study of MixRec");
    }
    return journal->SetStudyAttribute(kDefinitionAttribute, wanted);
  }
  // The size of the initial design follows from the budget, which may change: it stays.
  if (options.initial <= 0 && stored->second.contains("initial")) {
    wanted["initial"] = stored->second["initial"];
  }
  const std::string differences = DefinitionDifferences(stored->second, wanted);
  if (differences.empty()) return absl::OkStatus();
  return UsageError(journal->path(), ": this study was begun with other options:", differences,
                    "\nuse the same options, or another --out folder");
}

}  // namespace

struct Study::State {
  std::string folder;
  StudyOptions options;
  Journal journal;
  Driver driver;
  std::vector<int> left_running = {};    // given out again first, in order
  int failed_now = 0, finished_now = 0;  // by this process
  bool exhausted = false;

  int Count(TrialState state) const {
    const auto& trials = journal.study().trials;
    return static_cast<int>(std::count_if(trials.begin(), trials.end(),
                                          [&](const auto& trial) { return trial.state == state; }));
  }
  // Trials that use up the budget: finished ones, and those that are being evaluated.
  int Spent() const {
    return Count(TrialState::kComplete) + Count(TrialState::kPruned) + Count(TrialState::kRunning);
  }

  absl::StatusOr<Trial> Again(int number) {
    const TrialRecord& record = journal.study().trials[static_cast<size_t>(number)];
    const double restarts = record.Number(kRestartsAttribute).value_or(0);
    MIXREC_RETURN_IF_ERROR(
        journal.SetTrialAttribute(number, kRestartsAttribute, static_cast<int>(restarts) + 1));
    return Trial{number, record.Text(kBitsAttribute), record.Text(kSourceAttribute),
                 record.Number(kAcquisitionAttribute), true};
  }

  absl::StatusOr<Trial> New(const Suggestion& suggestion) {
    Trial trial{suggestion.number, driver.space().Text(suggestion.point), suggestion.source,
                std::nullopt, false};
    std::map<std::string, json> attributes = {{kBitsAttribute, trial.bits},
                                              {kSourceAttribute, trial.source}};
    if (std::isfinite(suggestion.acquisition)) {
      trial.acquisition = suggestion.acquisition;
      attributes[kAcquisitionAttribute] = suggestion.acquisition;
    }
    MIXREC_ASSIGN_OR_RETURN(const int number,
                            journal.CreateTrial(ArchitectureParameters(trial.bits), attributes));
    CHECK_EQ(number, trial.number) << "the journal and the driver count differently";
    return trial;
  }
};

Study::Study(std::unique_ptr<State> state) : state_(std::move(state)) {}
Study::Study(Study&&) noexcept = default;
Study& Study::operator=(Study&&) noexcept = default;
Study::~Study() = default;

absl::StatusOr<Study> Study::OpenOrCreate(const std::string& folder, const StudyOptions& options) {
  MIXREC_RETURN_IF_ERROR(DriverOptionsOf(options).status());
  MIXREC_RETURN_IF_ERROR(MakeFolder(folder));
  MIXREC_ASSIGN_OR_RETURN(Journal journal, Journal::Open(folder + "/study.journal"));
  MIXREC_RETURN_IF_ERROR(Define(options, &journal));
  MIXREC_ASSIGN_OR_RETURN(Driver driver, ReplayStudy(journal.study()));
  auto state =
      std::make_unique<State>(State{folder, options, std::move(journal), std::move(driver)});
  for (const TrialRecord& trial : state->journal.study().trials) {
    if (!trial.finished()) state->left_running.push_back(trial.number);
  }
  return Study(std::move(state));
}

absl::StatusOr<std::optional<Trial>> Study::NextTrial() {
  if (state_->failed_now >= kToleratedFailures && state_->failed_now > state_->finished_now) {
    return FailureError(folder(), ": most trials fail (", state_->failed_now, " of ",
                        state_->failed_now + state_->finished_now,
                        " in this run); see the reasons in trials.csv, and run the same command ",
                        "again to go on");
  }
  if (!state_->left_running.empty()) {
    const int number = state_->left_running.front();
    state_->left_running.erase(state_->left_running.begin());
    MIXREC_ASSIGN_OR_RETURN(Trial trial, state_->Again(number));
    return trial;
  }
  if (state_->Spent() >= state_->options.trials) return std::nullopt;
  const std::optional<Suggestion> suggestion = state_->driver.Ask();
  if (!suggestion) {
    state_->exhausted = true;
    return std::nullopt;
  }
  MIXREC_ASSIGN_OR_RETURN(Trial trial, state_->New(*suggestion));
  return trial;
}

absl::Status Study::ReportIntermediate(int number, int epoch, double value) {
  return state_->journal.SetIntermediateValue(number, epoch, value);
}

absl::Status Study::Finish(int number, double value, double seconds) {
  if (!std::isfinite(value)) return Fail(number, StrCat("the score is not finite: ", value));
  MIXREC_RETURN_IF_ERROR(state_->journal.FinishTrial(number, TrialState::kComplete, value,
                                                     {{kSecondsAttribute, seconds}}));
  state_->driver.Tell(number, value);
  ++state_->finished_now;
  return absl::OkStatus();
}

absl::Status Study::Fail(int number, const std::string& reason) {
  MIXREC_RETURN_IF_ERROR(state_->journal.FinishTrial(number, TrialState::kFailed, std::nullopt,
                                                     {{kReasonAttribute, reason}}));
  state_->driver.TellFailure(number);
  ++state_->failed_now;
  return absl::OkStatus();
}

int Study::finished() const { return state_->Count(TrialState::kComplete); }
int Study::failed() const { return state_->Count(TrialState::kFailed); }
bool Study::exhausted() const { return state_->exhausted; }

std::optional<TrialResult> Study::best() const {
  const std::vector<TrialResult> best = BestTrials(1);
  if (best.empty()) return std::nullopt;
  return best.front();
}

std::optional<TrialResult> Study::best_by_mean() const {
  const Incumbent incumbent = state_->driver.BestByMean();
  if (incumbent.number < 0) return std::nullopt;
  return ResultOf(record().trials[static_cast<size_t>(incumbent.number)]);
}

std::vector<TrialResult> Study::BestTrials(int count) const {
  std::vector<TrialResult> best;
  for (const TrialRecord* trial : record().Ranked()) {
    if (static_cast<int>(best.size()) >= count) break;
    best.push_back(ResultOf(*trial));
  }
  return best;
}

std::string Study::BestTable(int count) const {
  const int width = std::max(12, state_->driver.space().bits);
  std::string table = absl::StrFormat("%4s  %5s  %9s  %-*s  %-8s  %8s\n", "rank", "trial", "score",
                                      width, "architecture", "source", "seconds");
  int rank = 0;
  for (const TrialResult& trial : BestTrials(count)) {
    table += absl::StrFormat("%4d  %5d  %9.6f  %-*s  %-8s  %8.1f\n", ++rank, trial.number,
                             trial.value, width, trial.bits, trial.source, trial.seconds);
  }
  return table;
}

ModelSummary Study::Model() const { return state_->driver.Summary(); }

std::string Study::Warning() const {
  const ModelSummary model = Model();
  if (!model.explains_nothing()) return "";
  return absl::StrFormat(
      "the surrogate explains nothing yet (leave-one-out R2 %.2f < 0): its suggestions are little "
      "better than random points",
      model.leave_one_out_r2);
}

const std::string& Study::folder() const { return state_->folder; }
const scheduler::StudyRecord& Study::record() const { return state_->journal.study(); }

absl::Status Study::WriteReport() const { return WriteReportFiles(record(), folder()); }

}  // namespace mixrec::bo_driver
