// A collaborative filtering model by itself: trained with BPR before the model that takes its rows
// as they are (`--cf_training=frozen`).
//
// FOLDER/cf.safetensors holds the rows of users and items and NCF's layers; its metadata say for
// which data, which CF model and which widths (docs/training.md).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"
#include "data/dataset.h"
#include "model/options.h"
#include "worker/model_state.h"

namespace mixrec::worker {

struct CfTrainingOptions {
  model::ModelOptions model;  // of which only the CF model's kind and widths count
  int64_t epochs = 40;
  int64_t batch = 64;  // users of a step, each with one pair an item of S
  double learning_rate = 1e-3;
  double warmup_fraction = 0.06;
  double weight_decay = 0.01;
  uint64_t seed = 1;
  at::Device device = at::kCPU;
  bool progress = true;
};

struct CfTrainingResult {
  int64_t steps = 0;
  std::vector<double> losses;  // mean BPR loss of each epoch
  std::string path;
};

// Trains on the training histories alone (model.md D35), with the tables, the pairs and the
// optimiser of joint training, and writes FOLDER/cf.safetensors. StoppedError on request: nothing
// is written.
absl::StatusOr<CfTrainingResult> TrainCf(const data::Dataset& dataset,
                                         const CfTrainingOptions& options,
                                         const std::string& folder);

// Copies the rows of FOLDER/cf.safetensors into the tables of `state`. DataError when the file is
// missing or of other users or items, UsageError naming the flags when kind or widths differ.
absl::Status LoadCfRows(const std::string& folder, const data::Dataset& dataset, ModelState* state);

// FOLDER/cf.safetensors.
std::string CfFile(const std::string& folder);

}  // namespace mixrec::worker
