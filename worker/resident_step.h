// The train step from lists that are on the device to losses that stay there: nothing is copied
// from the host and nothing waits for the device, so it can be captured once and replayed
// (step_graphs.h). For models whose tables are in this process.
#pragma once

#include <ATen/ATen.h>

#include "model/stream.h"
#include "worker/dense_optimizer.h"
#include "worker/model_state.h"
#include "worker/step_options.h"

namespace mixrec::worker {

class ResidentStep {
 public:
  // Elements of the losses.
  enum Loss : int64_t { kSequence, kAlignment, kContrastive, kCf, kTotal, kLosses };

  // Keeps the pointers. `optimizer` is that of the state's dense parameters.
  ResidentStep(const StepOptions& options, ModelState* state, DenseOptimizer* optimizer);

  // One step on a stream made for training, whose padding counts nothing (data/pad.h). `schedule`:
  // tensor/device_step.h's. Returns the losses before the update [kLosses] fp32: unweighted parts,
  // weighted total; when the total is not finite nothing has moved. Gradients are zero before and
  // after.
  at::Tensor Run(const model::Stream& stream, const at::Tensor& schedule);

 private:
  // Adds up the parts; writes the weighted total to losses[kTotal].
  at::Tensor Total(const at::Tensor& sequence, const at::Tensor& alignment,
                   const at::Tensor& contrastive, const at::Tensor& cf) const;

  StepOptions options_;
  ModelState* state_;
  DenseOptimizer* optimizer_;
  at::Tensor lambdas_;  // [4] of the parts
};

}  // namespace mixrec::worker
