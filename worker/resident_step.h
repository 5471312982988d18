// The train step from lists that are on the device to losses that stay there: nothing is copied
// from the host and nothing waits for the device, so it can be captured once and replayed
// (step_graphs.h). Of one model, or of several side by side, which share the products with the
// frozen weights. For models whose tables are in this process.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <vector>

#include "model/mixrec_model.h"
#include "model/stream.h"
#include "tensor/branches.h"
#include "tensor/side_stream.h"
#include "worker/dense_optimizer.h"
#include "worker/model_state.h"
#include "worker/step_options.h"

namespace mixrec::worker {

// A model in training. `optimizer` is that of the state's dense parameters.
struct StepMember {
  StepOptions options;
  ModelState* state = nullptr;
  DenseOptimizer* optimizer = nullptr;
};

class ResidentStep {
 public:
  // Elements of the losses.
  enum Loss : int64_t { kSequence, kAlignment, kContrastive, kCf, kTotal, kLosses };

  // Keeps the pointers. Several members have the backbone, mode and replace_every in common.
  explicit ResidentStep(std::vector<StepMember> members);

  // One step of every member on a stream of its own that was made for training, whose padding
  // counts nothing (data/pad.h). `schedules`: tensor/device_step.h's. Returns the losses before the
  // update [members, kLosses] fp32: unweighted parts, weighted total; when a member's total is not
  // finite nothing of it has moved. Gradients are zero before and after.
  at::Tensor Run(const std::vector<model::Stream>& streams,
                 const std::vector<at::Tensor>& schedules);

 private:
  // What a member's step has come to.
  struct Progress {
    model::CfRows rows;     // of the tables
    model::CfRows cf_rows;  // their gradients from the collaborative loss
    at::Tensor d_states;    // of its reads
    at::Tensor sequence, alignment, contrastive, cf;
  };
  // The rows of the tables, and the loss that depends on them alone.
  void Begin(size_t member, const model::Stream& stream, Progress* progress) const;
  // The losses of the states, and the states' gradients.
  void Losses(size_t member, const model::Stream& stream, const at::Tensor& states,
              Progress* progress) const;
  // The update, from the gradients of the rows that the model has added. Returns the losses.
  at::Tensor Update(size_t member, const model::Stream& stream, const at::Tensor& schedule,
                    const model::CfRows& d_rows, const Progress& progress) const;

  std::vector<StepMember> members_;
  tensor::Branches branches_;
  std::vector<std::unique_ptr<tensor::SideStream>> sides_;  // of the members
  std::vector<at::Tensor> lambdas_;                         // [4] of the parts
  std::unique_ptr<model::MixrecModel> together_;            // of several
  model::MixrecModel* network_;
};

}  // namespace mixrec::worker
