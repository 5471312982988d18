#include "tests/study_sample.h"

#include <absl/strings/str_format.h>

#include <cmath>
#include <ctime>
#include <vector>

#include "bo_driver/driver.h"
#include "bo_driver/problems.h"
#include "bo_driver/study_definition.h"
#include "scheduler/lease.h"

namespace mixrec {
namespace {

using scheduler::GroupState;
using scheduler::Journal;
using scheduler::TrialState;

constexpr int kEpochs = 4, kBudget = 48;
constexpr double kTick = 5, kEpochSeconds = 35;

std::string Utc(double seconds) {
  const std::time_t whole = static_cast<std::time_t>(seconds);
  std::tm parts{};
  gmtime_r(&whole, &parts);
  return absl::StrFormat("%04d-%02d-%02dT%02d:%02d:%02d.000000+00:00", parts.tm_year + 1900,
                         parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min,
                         parts.tm_sec);
}

struct Worker {
  scheduler::GroupRecord record;
  int trial = -1, attempt = 0;
  double epoch_ends = 0;
};

}  // namespace

struct SampleStudy::State {
  std::unique_ptr<double> clock;
  Journal journal;
  bo_driver::Problem problem = bo_driver::MakeProblem("arch", 2001).value();
  bo_driver::Driver driver;
  bo_driver::ArchitectureDomain domain;
  std::vector<Worker> workers = {};
  std::vector<int> waiting = {};
  int ended = 0;

  double Value(int number) {
    const auto point = problem.space.Parse(
        journal.study().trials[static_cast<size_t>(number)].Text(bo_driver::kBitsAttribute));
    return problem.value(*point) +
           problem.noise * bo_driver::ObservationNoise(1, static_cast<uint64_t>(number));
  }

  absl::Status SetGroup(Worker* worker, GroupState state) {
    worker->record.state = state;
    worker->record.at = journal.Now();
    return journal.SetStudyAttribute(scheduler::kGroupPrefix + worker->record.name,
                                     scheduler::GroupToJson(worker->record));
  }

  absl::Status Lease(int number, Worker* worker, int attempt, const std::string& why) {
    scheduler::Lease lease;
    if (worker != nullptr) lease.group = worker->record.name;
    lease.attempt = attempt;
    lease.why = why;
    lease.at = journal.Now();
    return journal.SetTrialAttribute(number, scheduler::kLeaseAttribute,
                                     scheduler::LeaseToJson(lease));
  }

  absl::StatusOr<int> NewTrial() {
    const auto suggestion = driver.Ask();
    std::map<std::string, nlohmann::json> attributes = {
        {bo_driver::kBitsAttribute, domain.Architecture(suggestion->point)},
        {bo_driver::kSourceAttribute, suggestion->source}};
    if (std::isfinite(suggestion->acquisition)) {
      attributes[bo_driver::kAcquisitionAttribute] = suggestion->acquisition;
    }
    return journal.CreateTrial(domain.Parameters(suggestion->point), attributes);
  }

  absl::Status GiveTo(Worker* worker) {
    int number = -1, attempt = 1;
    if (!waiting.empty()) {
      number = waiting.back();
      waiting.pop_back();
      attempt = 2;
    } else if (static_cast<int>(journal.study().trials.size()) < kBudget) {
      MIXREC_ASSIGN_OR_RETURN(number, NewTrial());
    }
    if (number < 0) return absl::OkStatus();
    worker->trial = number;
    worker->attempt = attempt;
    worker->epoch_ends = *clock + kEpochSeconds + 3 * (number % 5);
    return Lease(number, worker, attempt, "");
  }

  absl::Status End(Worker* worker, TrialState state, std::optional<double> value,
                   const std::string& reason) {
    const int number = worker->trial;
    worker->trial = -1;
    ++ended;
    std::map<std::string, nlohmann::json> attributes = {
        {scheduler::kSecondsAttribute, kEpochs * kEpochSeconds},
        {scheduler::kResultOfAttribute,
         {{"group", worker->record.name}, {"attempt", worker->attempt}}}};
    if (!reason.empty()) attributes[scheduler::kReasonAttribute] = reason;
    if (state == TrialState::kFailed) {
      driver.TellFailure(number);
    } else {
      driver.Tell(number, *value);
    }
    return journal.FinishTrial(number, state, value, attributes);
  }

  // The end of an epoch.
  absl::Status Step(Worker* worker) {
    const int number = worker->trial;
    const auto& curve = journal.study().trials[static_cast<size_t>(number)].intermediate_values;
    const int epoch = curve.empty() ? 1 : curve.rbegin()->first + 1;
    const double score =
        Value(number) * (1 - 0.5 * std::exp(-1.1 * epoch)) / (1 - 0.5 * std::exp(-1.1 * kEpochs));
    if (number % 13 == 7) {
      return End(worker, TrialState::kFailed, std::nullopt,
                 "step 212: the loss is not a number; <lower> --lr & \"try\" again");
    }
    MIXREC_RETURN_IF_ERROR(journal.SetIntermediateValue(number, epoch, score));
    if (epoch == 2 && number % 9 == 4) return End(worker, TrialState::kPruned, score, "");
    if (epoch == kEpochs) return End(worker, TrialState::kComplete, score, "");
    worker->epoch_ends = *clock + kEpochSeconds + 3 * (number % 5);
    return absl::OkStatus();
  }

  absl::Status LoseOrLeave(Worker* worker, GroupState state) {
    if (worker->trial >= 0) {
      MIXREC_RETURN_IF_ERROR(
          Lease(worker->trial, nullptr, worker->attempt, StrCat(worker->record.name, " is gone")));
      waiting.push_back(worker->trial);
      worker->trial = -1;
    }
    return SetGroup(worker, state);
  }

  absl::Status Tick() {
    *clock += kTick;
    for (Worker& worker : workers) {
      if (worker.record.state != GroupState::kAlive) continue;
      if (worker.trial >= 0 && *clock >= worker.epoch_ends) {
        MIXREC_RETURN_IF_ERROR(Step(&worker));
      }
      if (worker.trial < 0) MIXREC_RETURN_IF_ERROR(GiveTo(&worker));
    }
    if (ended == 14 && workers[3].record.state == GroupState::kAlive) {
      return LoseOrLeave(&workers[3], GroupState::kLost);
    }
    if (ended == 25 && workers[4].record.state == GroupState::kAlive) {
      return LoseOrLeave(&workers[4], GroupState::kLeft);
    }
    return absl::OkStatus();
  }

  absl::Status SetStatus(scheduler::StudyPhase phase) {
    return journal.SetStudyAttribute(scheduler::kStatusAttribute,
                                     scheduler::StatusToJson({phase, "", journal.Now()}));
  }
};

SampleStudy::SampleStudy(std::unique_ptr<State> state) : state_(std::move(state)) {}
SampleStudy::~SampleStudy() = default;

absl::StatusOr<std::unique_ptr<SampleStudy>> SampleStudy::Create(const std::string& path,
                                                                 const std::string& name,
                                                                 double start) {
  auto clock = std::make_unique<double>(start);
  const double* time = clock.get();
  MIXREC_ASSIGN_OR_RETURN(auto storage, scheduler::OpenJournalFile(path));
  MIXREC_ASSIGN_OR_RETURN(Journal journal,
                          Journal::OpenOn(std::move(storage), path, [time] { return Utc(*time); }));
  bo_driver::StudyOptions options;
  options.layers = 12;
  options.trials = kBudget;
  options.settings = {{"bo_fraction", "0.05"}, {"trial_epochs", StrCat(kEpochs)}};
  MIXREC_ASSIGN_OR_RETURN(bo_driver::DriverOptions driver, bo_driver::DriverOptionsOf(options));
  auto state = std::unique_ptr<State>(
      new State{std::move(clock), std::move(journal), bo_driver::MakeProblem("arch", 2001).value(),
                bo_driver::Driver(bo_driver::DomainOf(options).space(), driver),
                bo_driver::DomainOf(options)});
  MIXREC_RETURN_IF_ERROR(state->journal.CreateStudy(name, /*maximise=*/true));
  MIXREC_RETURN_IF_ERROR(state->journal.SetStudyAttribute(bo_driver::kDefinitionAttribute,
                                                          bo_driver::Definition(options, driver)));
  MIXREC_RETURN_IF_ERROR(state->journal.SetStudyAttribute(scheduler::kBudgetAttribute, kBudget));
  MIXREC_RETURN_IF_ERROR(state->SetStatus(scheduler::StudyPhase::kRunning));
  for (int i = 0; i < 5; ++i) {
    Worker worker;
    worker.record.name = StrCat("node", i / 2 + 1, "-", i % 2);
    worker.record.host = StrCat("node", i / 2 + 1);
    worker.record.device = "cpu, fp32, 8 threads";
    worker.record.ranks = 2;
    MIXREC_RETURN_IF_ERROR(state->SetGroup(&worker, GroupState::kAlive));
    state->workers.push_back(std::move(worker));
  }
  return std::unique_ptr<SampleStudy>(new SampleStudy(std::move(state)));
}

absl::Status SampleStudy::RunUntil(int ended) {
  while (state_->ended < ended) MIXREC_RETURN_IF_ERROR(state_->Tick());
  return absl::OkStatus();
}

absl::Status SampleStudy::Finish() {
  MIXREC_RETURN_IF_ERROR(RunUntil(kBudget));
  for (Worker& worker : state_->workers) {
    if (worker.record.state == GroupState::kAlive) {
      MIXREC_RETURN_IF_ERROR(state_->SetGroup(&worker, GroupState::kLeft));
    }
  }
  return state_->SetStatus(scheduler::StudyPhase::kFinished);
}

const scheduler::StudyRecord& SampleStudy::study() const { return state_->journal.study(); }
double SampleStudy::now() const { return *state_->clock; }

}  // namespace mixrec
