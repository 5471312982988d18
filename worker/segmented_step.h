// Private to worker/: the train step of a rank that shares it with others, or whose tables are on
// servers, on padded batches. What computes without talking (forward with the losses that need no
// items, backward) is captured once a shape, as step_graphs.h does with whole steps, and replayed;
// what talks (the softmax over the items, sums over ranks, pulls and pushes) stands between the
// graphs, so every rank may have shapes of its own, or nothing to compute at all.
//
// With tables in the process, nothing waits for the device before the end of a step.
#pragma once

#include <ATen/ATen.h>

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "common/status.h"
#include "data/packed_batch.h"
#include "model/mixrec_model.h"
#include "tensor/side_stream.h"
#include "worker/batch_places.h"
#include "worker/graph_pool.h"
#include "worker/resident_step.h"
#include "worker/shared_step.h"
#include "worker/step_graphs.h"
#include "worker/step_times.h"

namespace mixrec::worker {

// Works on a CPU without graphs.
class SegmentedStep {
 public:
  // Keeps the pointers; `shared` is null without a group.
  SegmentedStep(const StepMember& member, SharedStep* shared, StepClock* clock);
  ~SegmentedStep();

  // As TrainStep::Run, whose comment holds. `votes` are this rank's, and become all ranks'.
  absl::StatusOr<model::Losses> Run(const StepInput& input, StepVotes* votes);

  void set_capture(bool capture) { graph_options_.capture = capture; }
  int64_t shapes() const { return places_.shapes(); }
  int64_t captured() const { return captured_; }

 private:
  // What a batch has come to, each tensor where the next part of the step looks for it. R reads.
  struct Pass {
    model::CfRows rows, d_rows;
    at::Tensor sequence_weights, alignment_weights;  // [R]
    at::Tensor weights;                              // [R] of the item softmax
    at::Tensor states;                               // [R, W]
    at::Tensor d_contrastive;                        // [R, W] their gradients so far
    at::Tensor contrastive, cf;                      // losses
    model::CfRows d_cf;                              // gradients of `rows` so far
  };
  // A stretch of the backward, and what of the flat gradient is complete after it.
  struct Stretch {
    std::unique_ptr<Graph> graph;
    std::vector<std::pair<int64_t, int64_t>> complete;
  };
  struct Plan {
    int64_t moves = 0, uses = 0;  // of the place as it is
    model::Stream stream;
    model::CfRows pulled;  // from servers: where they are put
    at::Tensor d_states;   // [R, W] zero at padding
    Pass launched, captured;
    std::unique_ptr<Graph> forward;
    std::vector<Stretch> backward;
  };

  // What changes from step to step, on the device.
  struct Sent {
    at::Tensor schedule;  // tensor/device_step.h's
    at::Tensor votes;     // [2]
  };
  Sent Send(const StepInput& input, const StepVotes& votes) const;
  // The batch is on its way to the device.
  Plan* Stage(const StepInput& input);
  void Reset(const BatchPlace& place, Plan* plan);
  Plan Nothing() const;
  absl::Status Pull(const StepInput& input, Plan* plan);
  Pass* Forward(Plan* plan);
  void Backward(Plan* plan, Pass* pass);
  void ComputeForward(const Plan& plan, Pass* pass) const;
  void ComputeBackward(const Plan& plan, Pass* pass,
                       const model::MixrecModel::Complete& complete) const;
  void Capture(Plan* plan);
  // [4], this rank's parts.
  absl::StatusOr<at::Tensor> Softmax(const data::PackedBatch& batch, const Pass& pass,
                                     at::Tensor d_states);
  absl::Status StartItemUpdate(const at::Tensor& losses, double learning_rate);
  void Update(const data::PackedBatch& batch, const at::Tensor& schedule, const at::Tensor& total,
              const model::CfRows& d_rows);
  // `results`: losses, votes, total, which the device comes to at the end.
  absl::StatusOr<model::Losses> Finish(const StepInput& input, const at::Tensor& results,
                                       const model::CfRows& d_rows, StepVotes* votes);
  bool resident() const { return member_.state->resident(); }

  const StepMember member_;
  SharedStep* const shared_;
  StepClock* const clock_;
  StepGraphOptions graph_options_;
  const at::Tensor lambdas_;  // [4] of the parts
  const std::unique_ptr<tensor::SideStream> side_;
  BatchPlaces places_;
  GraphPool graphs_;
  std::map<const BatchPlace*, Plan> plans_;
  Plan nothing_;  // of a step in which this rank has no users
  int64_t captured_ = 0;
};

}  // namespace mixrec::worker
