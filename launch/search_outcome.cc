#include "launch/search_outcome.h"

#include <algorithm>
#include <filesystem>

#include "bo_driver/report.h"
#include "bo_driver/study_results.h"
#include "common/file.h"
#include "common/log.h"
#include "launch/study_flags.h"
#include "worker/checkpoint.h"

namespace mixrec::launch {
namespace {

using scheduler::StudyRecord;
using scheduler::TrialRecord;
using scheduler::TrialState;

int Count(const StudyRecord& study, TrialState state) {
  return static_cast<int>(
      std::count_if(study.trials.begin(), study.trials.end(),
                    [&](const TrialRecord& trial) { return trial.state == state; }));
}

// A trial that was stopped early, or that somebody else finished, may have left some.
void RemoveCheckpoints(const StudyRecord& study, const RunFolder& run) {
  std::error_code ignored;
  for (const TrialRecord& trial : study.trials) {
    if (!trial.finished()) continue;
    const std::string folder = StrCat(run.File("trials"), "/trial-", trial.number);
    std::filesystem::remove_all(worker::CheckpointsFolder(folder), ignored);
  }
}

}  // namespace

absl::Status ConcludeSearch(const Invocation& invocation, const StudyRecord& study,
                            RunFolder* run) {
  RemoveCheckpoints(study, *run);
  MIXREC_RETURN_IF_ERROR(bo_driver::WriteReportFiles(study, run->path()));
  const std::vector<bo_driver::TrialResult> best = bo_driver::BestTrials(study, 1);
  if (best.empty()) {
    return FailureError("no trial finished; ", run->File("study.journal"), " says why");
  }
  const bo_driver::TrialResult& winner = best.front();
  const int finished = Count(study, TrialState::kComplete) + Count(study, TrialState::kPruned);
  const std::string comment = StrCat("Best of ", finished, " trials: trial ", winner.number,
                                     ", validation MRR ", winner.value);
  MIXREC_RETURN_IF_ERROR(WriteFileAtomic(
      run->File("best.flags"), BestFlags(invocation, winner.bits, winner.values, comment)));
  *invocation.out << "\n"
                  << bo_driver::BestTable(study, 10) << "\nbest flags: " << run->File("best.flags")
                  << " (next: mixrec train --flagfile=" << run->File("best.flags")
                  << " --out=RUN)\nreport: " << run->File("report.html") << std::endl;
  return run->Record("result", {{"best_trial", winner.number},
                                {"best_architecture", winner.bits},
                                {"best_value", winner.value},
                                {"finished", finished},
                                {"failed", Count(study, TrialState::kFailed)}});
}

absl::Status EndSearch(const Invocation& invocation, const absl::Status& status,
                       const StudyRecord& study, RunFolder* run) {
  if (status.ok()) return ConcludeSearch(invocation, study, run);
  if (ExitCodeOf(status) == kExitFailure && !study.trials.empty()) {
    const absl::Status written = bo_driver::WriteReportFiles(study, run->path());
    if (!written.ok()) LOG(WARNING) << written.message();
  }
  return status;
}

}  // namespace mixrec::launch
