#include "bo_driver/study_runner.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "bo_driver/report.h"
#include "common/file.h"
#include "scheduler/lease.h"

namespace mixrec::bo_driver {
namespace {

using scheduler::Journal;
using scheduler::TrialRecord;
using scheduler::TrialState;

constexpr int kToleratedFailures = 5;

}  // namespace

struct Study::State {
  std::string folder;
  StudyOptions options;
  Journal journal;
  std::unique_ptr<StudyStrategy> strategy;
  std::vector<int> left_running = {};    // given out again first, in order
  int failed_now = 0, finished_now = 0;  // by this process
  bool exhausted = false;

  int Count(TrialState state) const {
    const auto& trials = journal.study().trials;
    return static_cast<int>(std::count_if(trials.begin(), trials.end(),
                                          [&](const auto& trial) { return trial.state == state; }));
  }
  absl::StatusOr<Trial> Again(int number) {
    const TrialRecord& record = journal.study().trials[static_cast<size_t>(number)];
    const double restarts = record.Number(kRestartsAttribute).value_or(0);
    MIXREC_RETURN_IF_ERROR(
        journal.SetTrialAttribute(number, kRestartsAttribute, static_cast<int>(restarts) + 1));
    return TrialOf(record, true);
  }

  absl::StatusOr<Trial> New() {
    MIXREC_ASSIGN_OR_RETURN(const scheduler::Proposal proposal, strategy->Propose(journal.study()));
    MIXREC_ASSIGN_OR_RETURN(const int number,
                            journal.CreateTrial(proposal.parameters, proposal.attributes));
    return TrialOf(journal.study().trials[static_cast<size_t>(number)], false);
  }

  absl::StatusOr<Trial> TrialOf(const TrialRecord& record, bool again) {
    MIXREC_ASSIGN_OR_RETURN(TrialWork work, ParseTrialWork(strategy->Work(record)));
    const int restarts = static_cast<int>(record.Number(kRestartsAttribute).value_or(0));
    return Trial{record.number,
                 record.Text(kBitsAttribute),
                 record.Text(kSourceAttribute),
                 record.Number(kAcquisitionAttribute),
                 again,
                 scheduler::LeaseOf(record).attempt + restarts + 1,
                 std::move(work)};
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
  MIXREC_ASSIGN_OR_RETURN(std::unique_ptr<StudyStrategy> strategy,
                          StudyStrategy::Open(options, &journal));
  auto state =
      std::make_unique<State>(State{folder, options, std::move(journal), std::move(strategy)});
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
  if (!state_->strategy->HasMore(record())) {
    state_->exhausted = state_->strategy->exhausted();
    return std::nullopt;
  }
  MIXREC_ASSIGN_OR_RETURN(Trial trial, state_->New());
  return trial;
}

absl::StatusOr<bool> Study::ReportIntermediate(int number, int epoch, double value) {
  const TrialRecord& trial = record().trials[static_cast<size_t>(number)];
  if (trial.intermediate_values.count(epoch) > 0) return true;
  MIXREC_RETURN_IF_ERROR(state_->journal.SetIntermediateValue(number, epoch, value));
  const auto stop = state_->strategy->StopsEarly(record(), trial);
  if (!stop) return true;
  MIXREC_RETURN_IF_ERROR(state_->journal.FinishTrial(
      number, TrialState::kPruned, stop->value,
      {{scheduler::kEarlyStopAttribute, {{"epoch", epoch}, {"rule", stop->rule}}}}));
  state_->strategy->Told(trial);
  ++state_->finished_now;
  return false;
}

absl::Status Study::Finish(int number, double value, double seconds) {
  if (!std::isfinite(value)) return Fail(number, StrCat("the score is not finite: ", value));
  MIXREC_RETURN_IF_ERROR(state_->journal.FinishTrial(number, TrialState::kComplete, value,
                                                     {{scheduler::kSecondsAttribute, seconds}}));
  state_->strategy->Told(record().trials[static_cast<size_t>(number)]);
  ++state_->finished_now;
  return absl::OkStatus();
}

absl::Status Study::Fail(int number, const std::string& reason, const std::string& log) {
  std::map<std::string, nlohmann::json> attributes{{scheduler::kReasonAttribute, reason}};
  if (!log.empty()) attributes[scheduler::kLogAttribute] = log;
  MIXREC_RETURN_IF_ERROR(
      state_->journal.FinishTrial(number, TrialState::kFailed, std::nullopt, attributes));
  state_->strategy->Told(record().trials[static_cast<size_t>(number)]);
  ++state_->failed_now;
  return absl::OkStatus();
}

int Study::finished() const {
  const auto& trials = record().trials;
  return static_cast<int>(std::count_if(trials.begin(), trials.end(), [](const auto& trial) {
    return (trial.state == TrialState::kComplete || trial.state == TrialState::kPruned) &&
           trial.attributes.count(kReplicateAttribute) == 0;
  }));
}
int Study::failed() const { return state_->Count(TrialState::kFailed); }
bool Study::exhausted() const { return state_->exhausted; }

std::optional<TrialResult> Study::best() const {
  const std::vector<TrialResult> best = BestTrials(1);
  if (best.empty()) return std::nullopt;
  return best.front();
}

std::optional<TrialResult> Study::best_by_mean() const {
  const Incumbent incumbent = state_->strategy->driver().BestByMean();
  if (incumbent.number < 0) return std::nullopt;
  return ResultOf(record(), record().trials[static_cast<size_t>(incumbent.number)]);
}

std::vector<TrialResult> Study::BestTrials(int count) const {
  return bo_driver::BestTrials(record(), count);
}

std::string Study::BestTable(int count) const { return bo_driver::BestTable(record(), count); }

ModelSummary Study::Model() const { return state_->strategy->driver().Summary(); }

std::string Study::Warning() const { return ModelWarning(state_->strategy->driver()); }

const std::string& Study::folder() const { return state_->folder; }
const scheduler::StudyRecord& Study::record() const { return state_->journal.study(); }

absl::Status Study::WriteReport() const { return WriteReportFiles(record(), folder()); }

}  // namespace mixrec::bo_driver
