#include "launch/trial_runner.h"

#include <chrono>
#include <thread>
#include <utility>

#include "common/log.h"
#include "common/stop_signal.h"
#include "launch/flag_line.h"
#include "launch/flags.h"
#include "launch/servers.h"

namespace mixrec::launch {
namespace {

using scheduler::Failure;
using scheduler::Outcome;

constexpr auto kLockPatience = std::chrono::seconds(10);
constexpr auto kLockPoll = std::chrono::milliseconds(100);

bool IsToStop(const TrialAttempt& attempt) {
  return StopRequested() || (attempt.stop && attempt.stop());
}

Failure FailureOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kResourceExhausted:
      return Failure::kMemory;
    case absl::StatusCode::kOutOfRange:
      return Failure::kNotFinite;
    case absl::StatusCode::kInvalidArgument:
      return Failure::kRefused;
    default:
      return Failure::kTransient;
  }
}

}  // namespace

TrialRunner::TrialRunner(StudyBrief brief, RunRequest study, const FlagTable* table,
                         worker::SearchObjective objective, const Ranks* ranks)
    : brief_(std::move(brief)),
      study_(std::move(study)),
      table_(table),
      objective_(std::move(objective)),
      ranks_(ranks) {}

// A trial's folder says what ran, as that of `mixrec train` does; it keeps no weights.
RunRequest TrialRunner::RequestOf(const TrialAttempt& attempt, const std::string& folder) const {
  RunRequest request = study_;
  request.folder = folder;
  request.verb = "train";
  request.resume = "auto";
  for (auto flag = request.flags.begin(); flag != request.flags.end();) {
    flag = table_->Takes("train", flag->first) ? std::next(flag) : request.flags.erase(flag);
  }
  for (const auto& [name, value] : attempt.work.values) request.flags[name] = StrCat(value);
  request.flags["architecture"] = attempt.work.architecture;
  request.flags["epochs"] = StrCat(FLAGS_trial_epochs);
  request.flags["out"] = folder;
  return request;
}

absl::StatusOr<RunFolder> TrialRunner::OpenFolder(const TrialAttempt& attempt) const {
  const std::string folder = objective_.FolderOf(attempt.number);
  const auto until = std::chrono::steady_clock::now() + kLockPatience;
  while (true) {
    absl::StatusOr<RunFolder> run = RunFolder::Open(RequestOf(attempt, folder));
    if (!absl::IsUnavailable(run.status())) return run;
    if (IsToStop(attempt)) return StoppedError("stopped before it began");
    if (std::chrono::steady_clock::now() > until) break;
    std::this_thread::sleep_for(kLockPoll);
  }
  const std::string own = StrCat(folder, "-attempt-", attempt.attempt);
  LOG(WARNING) << attempt.who << "trial " << attempt.number << ": " << folder
               << " is held by an earlier attempt that nobody hears of; training it in " << own;
  return RunFolder::Open(RequestOf(attempt, own));
}

absl::StatusOr<RunFolder> TrialRunner::OpenTogether(const TrialAttempt& attempt) const {
  absl::StatusOr<RunFolder> run =
      ranks_->leads() ? OpenFolder(attempt) : absl::StatusOr<RunFolder>(RunFolder::Visit("", ""));
  MIXREC_RETURN_IF_ERROR(ranks_->Agree(run.status(), "opening the trial"));
  std::string path = run->path();
  MIXREC_RETURN_IF_ERROR(ranks_->Share("the trial's folder", &path));
  return ranks_->leads() ? std::move(run) : RunFolder::Visit(path, "");
}

absl::StatusOr<worker::TrialOutcome> TrialRunner::Run(
    const TrialAttempt& attempt,
    const worker::SearchObjective::IntermediateCallback& on_epoch) const {
  MIXREC_ASSIGN_OR_RETURN(RunFolder run, OpenTogether(attempt));
  absl::StatusOr<worker::TrialOutcome> outcome = RunIn(run.path(), attempt, on_epoch);
  MIXREC_RETURN_IF_ERROR(run.Close(outcome.status()));
  return outcome;
}

absl::StatusOr<worker::TrialOutcome> TrialRunner::RunIn(
    const std::string& folder, const TrialAttempt& attempt,
    const worker::SearchObjective::IntermediateCallback& on_epoch) const {
  worker::TrialSpec spec;
  spec.number = attempt.number;
  spec.bits = attempt.work.architecture;
  spec.replicate = attempt.work.replicate;
  for (const auto& [name, value] : attempt.work.values) {
    if (name == bo_driver::kReplaceEvery) spec.replace_every = static_cast<int>(value);
    if (name == bo_driver::kBottleneck) spec.bottleneck = value;
  }
  spec.folder = folder;
  spec.label = StrCat(attempt.who, "trial ", attempt.number);
  spec.stop = attempt.stop;
  MIXREC_ASSIGN_OR_RETURN(const bool servers, UsesServers());
  if (!servers) return objective_.Evaluate(spec, on_epoch);
  // An attempt that is given up for lost may still send what the next one must not see.
  const std::string space = StrCat(brief_.id, "/", attempt.number, "/", attempt.attempt);
  MIXREC_ASSIGN_OR_RETURN(const std::unique_ptr<ps::Session> session, OpenServers(space, *ranks_));
  spec.placement = {session.get(), SamplingOfFlags()};
  absl::StatusOr<worker::TrialOutcome> outcome = objective_.Evaluate(spec, on_epoch);
  if (!ranks_->leads()) return outcome;
  const absl::Status dropped = session->Drop();
  if (!dropped.ok()) LOG(WARNING) << "the tables stay on the servers: " << dropped.message();
  return outcome;
}

Outcome OutcomeOf(const absl::StatusOr<worker::TrialOutcome>& result, double seconds,
                  const std::string& log) {
  Outcome outcome;
  outcome.seconds = seconds;
  if (result.ok()) {
    outcome.kind = Outcome::Kind::kDone;
    outcome.value = result->value;
  } else if (absl::IsCancelled(result.status())) {
    outcome.kind = Outcome::Kind::kReleased;
  } else {
    outcome.kind = Outcome::Kind::kFailed;
    outcome.failure = FailureOf(result.status());
    outcome.reason = StatusText(result.status());
    outcome.log = log;
  }
  return outcome;
}

}  // namespace mixrec::launch
