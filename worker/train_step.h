// One optimiser step, readable on one screen (paper Sec. 2.4).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>

#include "common/status.h"
#include "data/packed_batch.h"
#include "model/mixrec_model.h"
#include "model/safetensors.h"
#include "tensor/optimizer.h"
#include "worker/dense_optimizer.h"
#include "worker/model_state.h"
#include "worker/step_graphs.h"
#include "worker/step_options.h"

namespace mixrec::worker {

// Wall seconds by part, added up over steps. On a GPU, launches only unless the part reads a value.
struct StepTimes {
  double pull = 0, forward = 0, softmax = 0, backward = 0, optimizer = 0;
  double total() const { return pull + forward + softmax + backward + optimizer; }
};

class TrainStep {
 public:
  // Moments start at zero. Keeps the pointer.
  TrainStep(const StepOptions& options, ModelState* state);

  // Forward, backward and update on one batch; `step` counts from 0. The rows of `next`, the batch
  // after it if known, travel meanwhile. Returns the losses before the update: unweighted parts,
  // which may be NaN, and the weighted total. Parts whose weight is 0 are not computed and stay 0.
  // Fails when a table on a server does.
  absl::StatusOr<model::Losses> Run(const data::PackedBatch& batch, int64_t step,
                                    double learning_rate, const data::PackedBatch* next = nullptr);

  // Moments of every dense tensor and the tables' state, as far as they are in this process, by
  // name, as views: for checkpoints.
  model::NamedTensors OptimizerState() const;

  const StepTimes& times() const { return times_; }
  void ResetTimes() { times_ = {}; }
  // Whether steps may be captured and replayed (step_graphs.h).
  void set_capture(bool capture) {
    if (graphs_ != nullptr) graphs_->set_capture(capture);
  }

 private:
  absl::StatusOr<model::States> Softmax(const data::PackedBatch& batch, const model::States& states,
                                        model::Losses* losses);
  absl::Status Update(const data::PackedBatch& batch, const model::CfRows& d_rows,
                      double learning_rate);

  StepOptions options_;
  ModelState* state_;
  DenseOptimizer optimizer_;
  std::unique_ptr<StepGraphs> graphs_;  // on a GPU with all tables in this process
  StepTimes times_;
};

}  // namespace mixrec::worker
