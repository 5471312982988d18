#include "launch/search_loop.h"

#include <chrono>

#include "absl/strings/str_format.h"
#include "common/log.h"
#include "common/stop_signal.h"
#include "launch/flag_line.h"
#include "launch/recent_log.h"

namespace mixrec::launch {
namespace {

using Clock = std::chrono::steady_clock;

std::string TrialLine(const bo_driver::Trial& trial) {
  std::string line = StrCat("trial ", trial.number, " ", trial.bits, " (", trial.source);
  if (trial.acquisition) line += absl::StrFormat(", acquisition %.4f", *trial.acquisition);
  return StrCat(line, trial.again ? ", again)" : ")");
}

bool FailsOnlyTheTrial(const absl::Status& status) {
  const ExitCode code = ExitCodeOf(status);
  return code == kExitMemory || code == kExitFailure;
}

absl::Status RunTrial(bo_driver::Study* study, const bo_driver::Trial& trial,
                      const Objective& objective, const RecentLog& log, std::ostream& out) {
  out << TrialLine(trial) << std::endl;
  const Clock::time_point start = Clock::now();
  const absl::StatusOr<double> value = objective(trial);
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  if (value.ok()) {
    // A hopeless one has ended with the epoch that showed it (Study::ReportIntermediate).
    const bool ended = study->record().trials[static_cast<size_t>(trial.number)].finished();
    out << absl::StrFormat("trial %d: %.6f in %.1f s%s", trial.number, *value, seconds,
                           ended ? ", stopped early" : "")
        << std::endl;
    return ended ? absl::OkStatus() : study->Finish(trial.number, *value, seconds);
  }
  if (!FailsOnlyTheTrial(value.status())) return value.status();
  const std::string reason = StatusText(value.status());
  out << "trial " << trial.number << " failed: " << reason << std::endl;
  return study->Fail(trial.number, reason, log.Text());
}

}  // namespace

absl::Status RunTrials(bo_driver::Study* study, const Objective& objective, std::ostream& out) {
  const RecentLog log;
  while (true) {
    if (StopRequested()) {
      return StoppedError("stopped after ", study->finished(),
                          " finished trials; the same command goes on");
    }
    MIXREC_ASSIGN_OR_RETURN(const std::optional<bo_driver::Trial> trial, study->NextTrial());
    if (!trial) break;
    MIXREC_RETURN_IF_ERROR(RunTrial(study, *trial, objective, log, out));
    const std::string warning = study->Warning();
    if (!warning.empty()) LOG(WARNING) << warning;
  }
  if (study->exhausted()) out << "every architecture has been tried\n";
  return absl::OkStatus();
}

}  // namespace mixrec::launch
