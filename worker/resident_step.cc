#include "worker/resident_step.h"

#include <vector>

#include "common/log.h"
#include "tensor/device_step.h"
#include "tensor/phase.h"

namespace mixrec::worker {

ResidentStep::ResidentStep(const StepOptions& options, ModelState* state, DenseOptimizer* optimizer)
    : options_(options), state_(state), optimizer_(optimizer) {
  CHECK(state->resident()) << "tables on servers";
  const model::ModelOptions& model = state->options();
  const std::vector<float> lambdas{1.0f, static_cast<float>(model.lambda_align),
                                   static_cast<float>(model.lambda_cl),
                                   static_cast<float>(model.lambda_cf)};
  lambdas_ = at::tensor(lambdas, at::kFloat).to(state->device());
}

at::Tensor ResidentStep::Run(const model::Stream& stream, const at::Tensor& schedule) {
  using tensor::Phase;
  const Phase phase("mixrec::rest");
  const model::ModelOptions& model = state_->options();
  const model::CfRows rows = state_->PullResidentRows(stream);
  const at::Tensor states = state_->network().Forward(stream, rows, /*training=*/true);

  const at::Tensor weights =
      at::add(stream.sequence_weights, stream.alignment_weights, model.lambda_align);
  const CrossEntropies entropies = [&] {
    const Phase softmax("mixrec::item softmax");
    return state_->embedded_projection().CrossEntropyOf(states, stream.labels, weights);
  }();
  const at::Tensor sequence = entropies.values.dot(stream.sequence_weights);
  const at::Tensor alignment = model.lambda_align > 0
                                   ? entropies.values.dot(stream.alignment_weights)
                                   : at::zeros_like(sequence);
  const at::Tensor contrastive = [&] {
    const Phase contrast("mixrec::contrastive loss");
    return model::ContrastiveLoss(stream, states, model.temperature, model.lambda_cl,
                                  entropies.d_states);
  }();

  model::CfRows d_rows = state_->network().Backward(entropies.d_states);
  const at::Tensor cf = [&] {
    const Phase bpr("mixrec::collaborative filtering");
    return model.has_cf() ? state_->cf().BprLoss(stream, rows, model.lambda_cf, &d_rows)
                          : at::zeros_like(sequence);
  }();
  const at::Tensor losses = Total(sequence, alignment, contrastive, cf);

  const Phase optimizer("mixrec::optimizer");
  const at::Tensor total = losses.narrow(0, kTotal, 1);
  tensor::ClipGradientNormOnDevice(state_->parameters().flat_gradient(), options_.clip_norm);
  state_->PushResidentRows(stream, d_rows, schedule, total);
  optimizer_->Step(schedule, total);
  state_->embedded_projection().Step(schedule, total);
  return losses;
}

at::Tensor ResidentStep::Total(const at::Tensor& sequence, const at::Tensor& alignment,
                               const at::Tensor& contrastive, const at::Tensor& cf) const {
  const at::Tensor parts = at::stack({sequence, alignment, contrastive, cf});
  return at::cat({parts, parts.dot(lambdas_).unsqueeze(0)});
}

}  // namespace mixrec::worker
