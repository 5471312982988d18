// One optimiser step, readable on one screen (paper Sec. 2.4).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "common/status.h"
#include "data/packed_batch.h"
#include "model/mixrec_model.h"
#include "model/safetensors.h"
#include "tensor/optimizer.h"
#include "worker/dense_optimizer.h"
#include "worker/model_state.h"
#include "worker/segmented_step.h"
#include "worker/shared_step.h"
#include "worker/side_by_side.h"
#include "worker/step_graphs.h"
#include "worker/step_options.h"
#include "worker/step_times.h"

namespace mixrec::worker {

class TrainStep {
 public:
  // Moments start at zero. Keeps the pointers. With `others`, steps are taken together with theirs,
  // unless tables are on servers.
  TrainStep(const StepOptions& options, ModelState* state, SideBySide* others = nullptr);

  // Forward, backward and update on one batch; `step` counts from 0. The rows of `next`, the batch
  // after it if known, travel meanwhile. Returns the losses before the update: unweighted parts,
  // which may be NaN, and the weighted total. Parts whose weight is 0 are not computed and stay 0.
  // Fails when a table on a server does. With a group, every rank calls it with its part of the
  // step, and the losses are the whole step's.
  //
  // `next_learning_rate` promises that `next` is the next Run, at this rate, with no look at the
  // state in between: where runs_ahead() says so, it begins before this step's losses are read.
  absl::StatusOr<model::Losses> Run(const data::PackedBatch& batch, int64_t step,
                                    double learning_rate, const data::PackedBatch* next = nullptr,
                                    std::optional<double> next_learning_rate = std::nullopt);
  bool runs_ahead() const { return graphs_ != nullptr; }

  // Steps are between them: where others are trained side by side, an epoch begins when all of them
  // are there.
  void BeginEpoch();
  void EndEpoch();

  // Moments of every dense tensor and the tables' state, as far as they are in this process, by
  // name, as views: for checkpoints.
  model::NamedTensors OptimizerState() const;

  // With a group: what this rank wants after the next Run, and how many ranks wanted it at the
  // last.
  void set_vote(const StepVotes& mine) { votes_ = mine; }
  const StepVotes& votes() const { return votes_; }

  const StepTimes& times() const { return clock_.times(); }
  void ResetTimes() { clock_.Reset(); }
  // Whether steps may be captured and replayed (step_graphs.h, segmented_step.h).
  void set_capture(bool capture);

 private:
  model::States Forward(const data::PackedBatch& batch, const model::CfRows& rows);
  model::CfRows Backward(const data::PackedBatch& batch, const model::CfRows& rows,
                         const model::States& d_states);
  absl::StatusOr<model::States> Softmax(const data::PackedBatch& batch, const model::States& states,
                                        model::Losses* losses);
  absl::StatusOr<model::Losses> RunPadded(const StepInput& input);
  absl::Status Update(const data::PackedBatch& batch, const model::CfRows& d_rows,
                      double learning_rate);
  StepOptions options_;
  ModelState* state_;
  DenseOptimizer optimizer_;
  StepClock clock_;
  std::unique_ptr<SharedStep> shared_;  // with a group
  // On padded batches. With all tables in this process: among others, or alone.
  std::unique_ptr<SideBySide::Seat> seat_;
  std::unique_ptr<StepGraphs> graphs_;
  std::unique_ptr<SegmentedStep> segments_;  // with a group or servers
  StepVotes votes_;
};

}  // namespace mixrec::worker
