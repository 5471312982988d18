// What a training may do between two steps: stop, or write a checkpoint.
#include <filesystem>

#include "common/stop_signal.h"
#include "worker/table_files.h"
#include "worker/training_run.h"

namespace mixrec::worker {

// Whether something may happen between the coming step and the one after it, which then must not
// have begun.
bool TrainingRun::MayPause() const {
  const int64_t after = position().step + 1;
  return !step_.runs_ahead() || ShouldStop() || MinutesAreOver() ||
         (profile_ != nullptr && !profile_->finished()) || after == options_.simulate_preemption ||
         (options_.checkpoint_steps > 0 && after % options_.checkpoint_steps == 0);
}

bool TrainingRun::ShouldStop() const {
  return StopRequested() || (options_.stop && options_.stop());
}

// Ranks have said in the step whether they want to stop after it.
bool TrainingRun::StopIsDue() const {
  if (!ranks_.several()) return ShouldStop();
  return step_.votes().stop > 0 || position().step == options_.simulate_preemption;
}

bool TrainingRun::CheckpointIsDue() const {
  if (options_.checkpoint_steps > 0 && position().step % options_.checkpoint_steps == 0) {
    return true;
  }
  return ranks_.several() ? step_.votes().checkpoint > 0 : MinutesAreOver();
}

bool TrainingRun::MinutesAreOver() const {
  return options_.checkpoint_minutes > 0 &&
         std::chrono::duration<double>(std::chrono::steady_clock::now() - saved_at_).count() >=
             60 * options_.checkpoint_minutes;
}

absl::Status TrainingRun::Save(bool best) {
  MIXREC_RETURN_IF_ERROR(state_.Settle());
  const auto write = [this](const std::string& folder) -> absl::Status {
    MIXREC_RETURN_IF_ERROR(WriteTrainingState(folder, record_, card_, *inputs_.dataset, Tensors()));
    if (session() == nullptr) return absl::OkStatus();
    const std::string tables = TablesFolder(std::filesystem::absolute(folder).string());
    return session()->Save(tables, position().step);
  };
  MIXREC_RETURN_IF_ERROR(ranks_.OnLeader(
      "the checkpoint", [&] { return store_.Save(position().step, best, write).status(); }));
  saved_step_ = position().step;
  saved_at_ = std::chrono::steady_clock::now();
  return absl::OkStatus();
}

absl::Status TrainingRun::Stop() {
  if (saved_step_ != position().step) MIXREC_RETURN_IF_ERROR(Save(/*best=*/false));
  log_.reset();
  return StoppedError("stopped on request after step ", position().step, " of ", total_steps(),
                      ", checkpoint in ", CheckpointsFolder(run_folder_),
                      "/last; the same command goes on from there");
}

}  // namespace mixrec::worker
