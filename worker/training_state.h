// Private to worker/: what a training run keeps in a checkpoint (docs/checkpoints.md).
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/status.h"
#include "data/dataset.h"
#include "model/mixrec_model.h"
#include "model/safetensors.h"
#include "worker/model_card.h"
#include "worker/model_state.h"

namespace mixrec::worker {

// Where a run stands. All its sampling is a pure function of (seed, epoch, user), so that this and
// the tensors are the whole state.
struct TrainingPosition {
  int64_t step = 0;        // optimiser steps done
  int64_t epoch = 0;       // the epoch under way, from 0
  int64_t users_done = 0;  // of its order; all of them: validation is due
  int64_t epoch_steps = 0;
  model::Losses epoch_sums;            // over its steps so far
  std::vector<double> validation_mrr;  // of the epochs done
  double best_mrr = -1;
  int64_t best_epoch = 0;  // from 1; 0: none yet
};

struct TrainingRecord {
  TrainingPosition position;
  nlohmann::ordered_json options;  // that decide the result
};

// Tensors that are written and read back.
struct TrainingTensors {
  model::NamedTensors trainable;  // views
  model::NamedTensors optimizer;
};

// Writes all files but the manifest. Model and optimiser tensors are stored as fp32.
absl::Status WriteTrainingState(const std::string& folder, const TrainingRecord& record,
                                const ModelCard& card, const data::Dataset& dataset,
                                const TrainingTensors& tensors);

absl::StatusOr<TrainingRecord> ReadTrainingRecord(const std::string& folder);
// A record as its file has it, and back; `path` is for messages.
std::string ToText(const TrainingRecord& record);
absl::StatusOr<TrainingRecord> ParseTrainingRecord(const std::string& text,
                                                   const std::string& path);

// Copies the tensors of a checkpoint into the state, those of its tables too where they are
// embedded; `with_optimizer`: optimizer.safetensors too. Tables on servers are the caller's.
// DataError naming file and tensor when one is missing, too many or of another shape.
absl::Status ReadTrainingTensors(const std::string& checkpoint, int64_t step,
                                 const ModelState& state, const TrainingTensors& tensors,
                                 bool with_optimizer);

// Gives the servers of the state's placement the tables of a checkpoint, however it holds them.
// `scratch`: a folder to be made and removed.
absl::Status SendCheckpointTables(const std::string& checkpoint, int64_t step,
                                  const ModelState& state, const std::string& scratch);

}  // namespace mixrec::worker
