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
    : options_(options), state_(state), optimizer_(options.optimizer, &state->parameters()) {
  state->projection().PrepareTraining(options.group);
  if (options.group != nullptr) shared_ = std::make_unique<SharedStep>(options.group, state);
  if (shared_ != nullptr || !state->resident()) return;
  const StepMember member{options, state, &optimizer_};
  if (others != nullptr) {
    seat_ = std::make_unique<SideBySide::Seat>(others, member);
  } else if (state->device().is_cuda()) {
    graphs_ = std::make_unique<StepGraphs>(std::vector<StepMember>{member}, StepGraphOptions());
  }
}

absl::StatusOr<model::Losses> TrainStep::Run(const data::PackedBatch& batch, int64_t step,
                                             double learning_rate, const data::PackedBatch* next) {
  const model::ModelOptions& options = state_->options();
  lap_ = ReadClocks();
  state_->set_step(step);
  if (seat_ != nullptr || graphs_ != nullptr) {
    const StepInput input{&batch, step, learning_rate, next};
    const model::Losses losses = seat_ != nullptr ? seat_->Step(input) : graphs_->Run({input})[0];
    if (std::isfinite(losses.total)) state_->set_step(step + 1);
    Lap(&times_.forward);
    return losses;
  }
  state_->parameters().ZeroGradient();
  if (shared_ != nullptr) shared_->Start(batch, step);
  MIXREC_ASSIGN_OR_RETURN(const model::CfRows rows, state_->PullRows(batch));
  if (next != nullptr) state_->PrefetchRows(*next);
  Lap(&times_.pull);

  const model::States states = Forward(batch, rows);
  Lap(&times_.forward);

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
  Lap(&times_.softmax);

  model::CfRows d_rows = Backward(batch, rows, d_states);
  losses.cf = state_->cf().BprLoss(batch, rows, options.lambda_cf, &d_rows);
  if (shared_ != nullptr) {
    MIXREC_RETURN_IF_ERROR(shared_->Finish(batch, &losses, &votes_, &d_rows));
  }
  Lap(&times_.backward);

  losses.total = total();
  if (std::isfinite(losses.total)) {
    MIXREC_RETURN_IF_ERROR(Update(batch, d_rows, learning_rate));
  }
  Lap(&times_.optimizer);
  return losses;
}

TrainStep::Clocks TrainStep::ReadClocks() const {
  return {std::chrono::steady_clock::now(),
          shared_ == nullptr ? 0 : options_.group->waited_seconds(), state_->server_seconds()};
}

void TrainStep::Lap(double* part) {
  const Clocks now = ReadClocks();
  const double for_ranks = now.for_ranks - lap_.for_ranks;
  const double for_servers = now.for_servers - lap_.for_servers;
  *part += std::chrono::duration<double>(now.time - lap_.time).count() - for_ranks - for_servers;
  times_.communication += for_ranks;
  times_.server += for_servers;
  lap_ = now;
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
  model::CfRows none;
  if (rows.user.defined()) none.user = at::zeros_like(rows.user);
  if (rows.item.defined()) none.item = at::zeros_like(rows.item);
  return none;
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
