// Private to worker/: what the steps on padded batches (resident_step.h, segmented_step.h) have in
// common: losses of a stream that need no items.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "model/mixrec_model.h"
#include "model/stream.h"
#include "tensor/phase.h"
#include "worker/model_state.h"

namespace mixrec::worker {

// What the parts of the total are multiplied by [4]: sequence, alignment, contrastive, cf. Waits
// for its copy to the device.
inline at::Tensor LambdasOf(const ModelState& state) {
  const model::ModelOptions& model = state.options();
  const std::vector<float> lambdas{1.0f, static_cast<float>(model.lambda_align),
                                   static_cast<float>(model.lambda_cl),
                                   static_cast<float>(model.lambda_cf)};
  return at::tensor(lambdas, at::kFloat).to(state.device());
}

// The collaborative loss of the rows that a stream names; `d_rows` become their gradients. 0
// without a CF model.
inline at::Tensor CfLoss(ModelState* state, const model::Stream& stream, const model::CfRows& rows,
                         model::CfRows* d_rows) {
  const tensor::Phase phase("mixrec::collaborative filtering");
  const model::ModelOptions& model = state->options();
  *d_rows = model::ZerosLike(rows);
  if (!model.has_cf()) return at::zeros({}, stream.sequence_weights.options());
  return state->cf().BprLoss(stream, rows, model.lambda_cf, d_rows);
}

// The contrastive loss of a stream's states; `d_states` [R, W] fp32 become their gradients.
inline at::Tensor ContrastiveLossOf(const ModelState& state, const model::Stream& stream,
                                    const at::Tensor& states, at::Tensor* d_states) {
  const tensor::Phase phase("mixrec::contrastive loss");
  const model::ModelOptions& model = state.options();
  *d_states = at::zeros(states.sizes(), states.options().dtype(at::kFloat));
  return model::ContrastiveLoss(stream, states, model.temperature, model.lambda_cl, *d_states);
}

}  // namespace mixrec::worker
