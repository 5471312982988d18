// Private to worker/: one training run in progress (trainer.h).
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "data/batcher.h"
#include "worker/checkpoint.h"
#include "worker/model_card.h"
#include "worker/model_state.h"
#include "worker/run_profile.h"
#include "worker/run_ranks.h"
#include "worker/train_step.h"
#include "worker/trainer.h"
#include "worker/training_log.h"
#include "worker/training_state.h"

namespace mixrec::worker {

class TrainingRun {
 public:
  // Options are validated. Allocates; Start gives the values.
  TrainingRun(const TrainInputs& inputs, const model::ModelOptions& model_options,
              const TrainOptions& options, const std::string& run_folder);

  // Values: of the checkpoint to resume, or initial ones.
  absl::Status Start();
  absl::StatusOr<TrainResult> Run(const EpochCallback& on_epoch);

  int64_t total_steps() const;
  const TrainingPosition& position() const { return record_.position; }
  ModelState* state() { return &state_; }
  const RunRanks& ranks() const { return ranks_; }

 private:
  TrainingTensors Tensors() const { return {state_.Trainable(), step_.OptimizerState()}; }
  // Of Start (training_start.cc). Empty: there is no checkpoint.
  absl::StatusOr<std::string> CheckpointToResume() const;
  absl::Status Begin();
  absl::Status Resume(const std::string& checkpoint);
  absl::StatusOr<TrainingRecord> ReadRecord(const std::string& checkpoint) const;
  // The projection's start at the model's own states (model.md D29).
  absl::Status InitialiseItems();
  // For tables on their way to servers; no run leaves it behind.
  std::string ScratchFolder() const;
  ps::Session* session() const { return inputs_.placement.session; }
  absl::Status OpenLog();
  absl::StatusOr<TrainResult> Result() const;
  data::PackedBatch BuildBatch(const std::vector<int32_t>& order, int64_t first) const;
  // From the position in the epoch to its end; batches are packed while steps run.
  absl::Status TrainEpoch();
  // `next`: the batch after it, null at an epoch's end. Unless the run `pauses`, its step follows.
  absl::Status TrainOnBatch(const data::PackedBatch& batch, const data::PackedBatch* next,
                            int64_t users, bool pauses);
  absl::Status NotFinite(const model::Losses& losses) const;
  // Validation, the best score, a checkpoint.
  absl::StatusOr<EpochReport> FinishEpoch();
  absl::StatusOr<EvaluationResult> Validate();
  EpochReport CloseEpoch(const data::RankingSums& validation);
  // After a step: the same on every rank.
  bool CheckpointIsDue() const;
  bool StopIsDue() const;
  // Of this process.
  bool MinutesAreOver() const;
  bool ShouldStop() const;
  bool MayPause() const;
  absl::Status Save(bool best);
  // A checkpoint if there is none of this moment; a StoppedError.
  absl::Status Stop();

  TrainInputs inputs_;
  const RunRanks ranks_;
  const TrainOptions options_;
  const std::string run_folder_;
  const ModelCard card_;
  const data::BatchOptions batch_options_;
  const std::vector<int32_t> users_;
  std::unique_ptr<data::HardSampleSource> own_hard_samples_;
  ModelState state_;
  TrainStep step_;
  std::unique_ptr<RunProfile> profile_;  // null: none wanted
  CheckpointStore store_;
  TrainingRecord record_;
  std::unique_ptr<TrainingLog> log_;  // of rank 0
  int64_t saved_step_ = -1;           // step of the newest checkpoint; -1: none
  std::chrono::steady_clock::time_point saved_at_;
};

}  // namespace mixrec::worker
