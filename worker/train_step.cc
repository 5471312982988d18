#include "worker/train_step.h"

#include <cmath>

#include "tensor/from_host.h"
#include "tensor/softmax.h"

namespace mixrec::worker {
namespace {

double WeightedSum(const at::Tensor& values, const at::Tensor& weights) {
  return (values.to(at::kDouble) * weights.to(at::kDouble)).sum().item<double>();
}

}  // namespace

TrainStep::TrainStep(const StepOptions& options, ModelState* state, SideBySide* others)
    : options_(options),
      state_(state),
      optimizer_(options.optimizer, &state->parameters()),
      clock_(options.group, state) {
  state->projection().PrepareTraining(options.group);
  if (options.group != nullptr) shared_ = std::make_unique<SharedStep>(options.group, state);
  const StepMember member{options, state, &optimizer_};
  const bool talks = shared_ != nullptr || !state->resident();
  const bool pads = options.padding == StepPadding::kAlways ||
                    (options.padding == StepPadding::kOnGpu && state->device().is_cuda());
  if (!talks && others != nullptr) {
    seat_ = std::make_unique<SideBySide::Seat>(others, member);
  } else if (pads && talks) {
    segments_ = std::make_unique<SegmentedStep>(member, shared_.get(), &clock_);
  } else if (pads) {
    graphs_ = std::make_unique<StepGraphs>(std::vector<StepMember>{member}, StepGraphOptions());
  }
}

void TrainStep::set_capture(bool capture) {
  if (graphs_ != nullptr) graphs_->set_capture(capture);
  if (segments_ != nullptr) segments_->set_capture(capture);
}

absl::StatusOr<model::Losses> TrainStep::Run(const data::PackedBatch& batch, int64_t step,
                                             double learning_rate, const data::PackedBatch* next,
                                             std::optional<double> next_learning_rate) {
  const model::ModelOptions& options = state_->options();
  clock_.Start();
  state_->set_step(step);
  if (seat_ != nullptr || graphs_ != nullptr || segments_ != nullptr) {
    return RunPadded(
        {&batch, step, learning_rate, next, runs_ahead() ? next_learning_rate : std::nullopt});
  }
  state_->parameters().ZeroGradient();
  if (shared_ != nullptr) shared_->Start(batch, step);
  MIXREC_ASSIGN_OR_RETURN(const model::CfRows rows, state_->PullRows(batch));
  if (next != nullptr) state_->PrefetchRows(*next);
  clock_.Lap(&StepTimes::pull);

  const model::States states = Forward(batch, rows);
  clock_.Lap(&StepTimes::forward);

  model::Losses losses;
  MIXREC_ASSIGN_OR_RETURN(model::States d_states, Softmax(batch, states, &losses));
  losses.contrastive =
      model::ContrastiveLoss(batch, states, options.temperature, options.lambda_cl, &d_states);
  const auto total = [&] {
    return losses.sequence + options.lambda_align * losses.alignment +
           options.lambda_cl * losses.contrastive + options.lambda_cf * losses.cf;
  };
  if (std::isfinite(total())) {
    MIXREC_RETURN_IF_ERROR(state_->projection().StartUpdate(learning_rate));
  }
  clock_.Lap(&StepTimes::softmax);

  model::CfRows d_rows = Backward(batch, rows, d_states);
  losses.cf = state_->cf().BprLoss(batch, rows, options.lambda_cf, &d_rows);
  if (shared_ != nullptr) {
    MIXREC_RETURN_IF_ERROR(shared_->Finish(batch, &losses, &votes_, &d_rows));
  }
  clock_.Lap(&StepTimes::backward);

  losses.total = total();
  if (std::isfinite(losses.total)) {
    MIXREC_RETURN_IF_ERROR(Update(batch, d_rows, learning_rate));
  }
  clock_.Lap(&StepTimes::optimizer);
  return losses;
}

absl::StatusOr<model::Losses> TrainStep::RunPadded(const StepInput& input) {
  if (segments_ != nullptr) return segments_->Run(input, &votes_);
  const model::Losses losses = seat_ != nullptr ? seat_->Step(input) : graphs_->Run({input})[0];
  if (std::isfinite(losses.total)) state_->set_step(input.step + 1);
  clock_.Lap(&StepTimes::device);
  return losses;
}

// A rank of a group may have no users in a step.
model::States TrainStep::Forward(const data::PackedBatch& batch, const model::CfRows& rows) {
  model::MixrecModel& network = state_->network();
  if (batch.tokens.empty()) {
    const at::Tensor& like = state_->backbone().word_embedding;
    const at::Tensor none = at::empty({0, network.state_width()}, like.options());
    return {none, none};
  }
  return network.Forward(batch, rows, /*training=*/true, {options_.dropout_seed, state_->step()});
}

model::CfRows TrainStep::Backward(const data::PackedBatch& batch, const model::CfRows& rows,
                                  const model::States& d_states) {
  model::MixrecModel& network = state_->network();
  const auto complete = shared_ == nullptr ? nullptr : shared_->complete();
  if (!batch.tokens.empty()) return network.Backward(d_states, complete);
  network.SkipBackward(complete);
  return model::ZerosLike(rows);
}

void TrainStep::BeginEpoch() {
  if (seat_ != nullptr) seat_->Enter();
}

void TrainStep::EndEpoch() {
  if (seat_ != nullptr) seat_->Leave();
}

// Both cross-entropies in one pass over the item projection (paper Sec. 2.2.2, 2.2.3). Returns the
// gradients of the states.
absl::StatusOr<model::States> TrainStep::Softmax(const data::PackedBatch& batch,
                                                 const model::States& states,
                                                 model::Losses* losses) {
  const double lambda = state_->options().lambda_align;
  const at::Device device = state_->device();
  const int64_t reads = states.sequence.size(0), documents = states.alignment.size(0);
  at::Tensor read = states.sequence;
  std::vector<int32_t> labels = batch.targets;
  const at::Tensor sequence_weights = tensor::FloatTensor(batch.sequence_weights, device);
  const at::Tensor alignment_weights = tensor::FloatTensor(batch.alignment_weights, device);
  at::Tensor weights = sequence_weights;
  const bool aligns = lambda > 0 && documents > 0;
  if (aligns) {
    read = at::cat({read, states.alignment});
    labels.insert(labels.end(), batch.alignment_items.begin(), batch.alignment_items.end());
    weights = at::cat({weights, alignment_weights * lambda});
  }
  MIXREC_ASSIGN_OR_RETURN(const CrossEntropies entropies,
                          state_->projection().CrossEntropy(state_->step(), read, labels, weights));
  losses->sequence = WeightedSum(entropies.values.narrow(0, 0, reads), sequence_weights);
  if (!aligns) return model::States{entropies.d_states, at::zeros_like(states.alignment)};
  losses->alignment = WeightedSum(entropies.values.narrow(0, reads, documents), alignment_weights);
  return model::States{entropies.d_states.narrow(0, 0, reads),
                       entropies.d_states.narrow(0, reads, documents)};
}

absl::Status TrainStep::Update(const data::PackedBatch& batch, const model::CfRows& d_rows,
                               double learning_rate) {
  if (options_.clip_norm > 0) {
    tensor::ClipGradientNorm(state_->parameters().flat_gradient(), options_.clip_norm);
  }
  const bool summed = shared_ != nullptr && state_->resident();
  MIXREC_RETURN_IF_ERROR(state_->PushRows(summed ? batch.whole.user_ids : batch.user_ids,
                                          summed ? batch.whole.item_ids : batch.item_ids, d_rows,
                                          learning_rate));
  optimizer_.Step(state_->step(), learning_rate);
  MIXREC_RETURN_IF_ERROR(state_->projection().FinishUpdate());
  state_->set_step(state_->step() + 1);
  return absl::OkStatus();
}

model::NamedTensors TrainStep::OptimizerState() const {
  model::NamedTensors tensors = optimizer_.State();
  const model::NamedTensors tables = state_->TableOptimizerState();
  tensors.insert(tensors.end(), tables.begin(), tables.end());
  return tensors;
}

}  // namespace mixrec::worker
