// One optimiser step, readable on one screen (paper Sec. 2.4).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "data/packed_batch.h"
#include "model/mixrec_model.h"
#include "model/safetensors.h"
#include "tensor/optimizer.h"
#include "worker/model_state.h"

namespace mixrec::worker {

struct StepOptions {
  tensor::AdamWOptions optimizer;
  double clip_norm = 0;       // of the dense gradients, 0: none; table rows are never clipped (D30)
  uint64_t dropout_seed = 0;  // dropout is keyed by (seed, step, document) (D26)
};

// Wall seconds by part, added up over steps. On a GPU, launches only unless the part reads a value.
struct StepTimes {
  double pull = 0, forward = 0, softmax = 0, backward = 0, optimizer = 0;
  double total() const { return pull + forward + softmax + backward + optimizer; }
};

class TrainStep {
 public:
  // Moments start at zero. Keeps the pointer.
  TrainStep(const StepOptions& options, ModelState* state);

  // Forward, backward and update on one batch; `step` counts from 0. Returns the losses before the
  // update: unweighted parts, which may be NaN, and the weighted total. Parts whose weight is 0 are
  // not computed and stay 0.
  model::Losses Run(const data::PackedBatch& batch, int64_t step, double learning_rate);

  // Moments of every dense tensor and the tables' state, by name, as views: for checkpoints.
  model::NamedTensors OptimizerState() const;

  const StepTimes& times() const { return times_; }
  void ResetTimes() { times_ = {}; }

 private:
  model::States Softmax(const data::PackedBatch& batch, const model::States& states,
                        model::Losses* losses);
  void Update(const data::PackedBatch& batch, const model::CfRows& d_rows, int64_t step,
              double learning_rate);

  StepOptions options_;
  ModelState* state_;
  at::Tensor first_moment_, second_moment_;  // [parameters] fp32
  StepTimes times_;
};

}  // namespace mixrec::worker
