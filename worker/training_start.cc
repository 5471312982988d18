// How a run begins: with initial values, or those of a checkpoint. Rank 0 has them, and the others
// get them from it: so a run goes on with any number of ranks, and its replicas are equal bit for
// bit whatever CPUs they run on.
#include <utility>

#include "common/log.h"
#include "worker/cf_training.h"
#include "worker/item_init.h"
#include "worker/table_files.h"
#include "worker/train_options.h"
#include "worker/training_run.h"

namespace mixrec::worker {

absl::Status TrainingRun::Start() {
  MIXREC_ASSIGN_OR_RETURN(const std::string checkpoint, CheckpointToResume());
  MIXREC_RETURN_IF_ERROR(checkpoint.empty() ? Begin() : Resume(checkpoint));
  MIXREC_RETURN_IF_ERROR(ranks_.Share("the start of training", Tensors().trainable));
  MIXREC_RETURN_IF_ERROR(ranks_.Share("the start of training", Tensors().optimizer));
  if (ranks_.several()) state_.Refresh();
  return absl::OkStatus();
}

absl::StatusOr<std::string> TrainingRun::CheckpointToResume() const {
  std::string checkpoint = options_.resume;
  if (!checkpoint.empty()) return checkpoint;
  MIXREC_RETURN_IF_ERROR(ranks_.OnLeader("finding a checkpoint", [&]() -> absl::Status {
    MIXREC_ASSIGN_OR_RETURN(checkpoint, store_.Newest());
    return absl::OkStatus();
  }));
  MIXREC_RETURN_IF_ERROR(ranks_.Share("the checkpoint to go on from", &checkpoint));
  return checkpoint;
}

absl::Status TrainingRun::Begin() {
  const std::string what = "the initial values";
  MIXREC_RETURN_IF_ERROR(ranks_.Agree(state_.Initialise(options_.seed), what));
  return ranks_.OnLeader(what, [this] {
    if (!options_.cf_folder.empty()) {
      MIXREC_RETURN_IF_ERROR(LoadCfRows(options_.cf_folder, *inputs_.dataset, &state_));
    }
    return options_.item_init == ItemInit::kStates ? InitialiseItems() : absl::OkStatus();
  });
}

absl::Status TrainingRun::InitialiseItems() {
  if (session() == nullptr) {
    MIXREC_RETURN_IF_ERROR(
        FillWithItemStates(*inputs_.catalogue, &state_, state_.Tensor("item_proj.weight")));
    state_.Refresh();
    return absl::OkStatus();
  }
  const at::Tensor rows = at::zeros({state_.items(), state_.network().state_width()}, at::kFloat);
  MIXREC_RETURN_IF_ERROR(FillWithItemStates(*inputs_.catalogue, &state_, rows));
  const at::Tensor bias = at::zeros({state_.items()}, at::kFloat);
  return SendTables(state_.table_specs(), {{"item_proj.weight", rows}, {"item_proj.bias", bias}},
                    /*step=*/0, ScratchFolder(), session());
}

std::string TrainingRun::ScratchFolder() const { return run_folder_ + "/.tmp-tables"; }

// Rank 0 reads it and compares; all have it.
absl::StatusOr<TrainingRecord> TrainingRun::ReadRecord(const std::string& checkpoint) const {
  std::string text;
  MIXREC_RETURN_IF_ERROR(ranks_.OnLeader("reading the checkpoint", [&]() -> absl::Status {
    if (!options_.resume.empty()) {
      MIXREC_RETURN_IF_ERROR(FindCheckpoint(run_folder_, checkpoint).status());
    }
    MIXREC_ASSIGN_OR_RETURN(const TrainingRecord loaded, ReadTrainingRecord(checkpoint));
    text = ToText(loaded);
    if (options_.allow_changed_options) return absl::OkStatus();
    return CompareOptions(record_.options, loaded.options, checkpoint);
  }));
  MIXREC_RETURN_IF_ERROR(ranks_.Share("the checkpoint's state", &text));
  return ParseTrainingRecord(text, checkpoint);
}

absl::Status TrainingRun::Resume(const std::string& checkpoint) {
  MIXREC_ASSIGN_OR_RETURN(TrainingRecord loaded, ReadRecord(checkpoint));
  const int64_t step = loaded.position.step;
  // The servers must have the tables before they are given their rows.
  if (session() != nullptr) {
    MIXREC_RETURN_IF_ERROR(ranks_.Agree(state_.CreateTables(options_.seed), "the tables"));
  }
  MIXREC_RETURN_IF_ERROR(ranks_.OnLeader("reading the checkpoint", [&]() -> absl::Status {
    MIXREC_RETURN_IF_ERROR(
        ReadTrainingTensors(checkpoint, step, state_, Tensors(), /*with_optimizer=*/true));
    return session() == nullptr ? absl::OkStatus()
                                : SendCheckpointTables(checkpoint, step, state_, ScratchFolder());
  }));
  state_.Refresh();
  state_.set_step(step);
  record_.position = std::move(loaded.position);
  saved_step_ = options_.resume.empty() ? position().step : -1;
  if (ranks_.leads()) {
    LOG(INFO) << (options_.label.empty() ? "" : options_.label + ": ") << "resumed from "
              << checkpoint << " at step " << position().step;
  }
  return absl::OkStatus();
}

}  // namespace mixrec::worker
