#include "worker/segmented_step.h"

#include <cmath>

#include "tensor/device_step.h"
#include "tensor/from_host.h"
#include "tensor/phase.h"
#include "worker/stream_losses.h"

namespace mixrec::worker {
namespace {

using tensor::Phase;

constexpr int64_t kParts = 4;  // sequence, alignment, contrastive, cf

// The rows of the batch, without padding.
model::CfRows RowsOf(const data::PackedBatch& batch, const model::CfRows& padded) {
  if (!padded.user.defined()) return {};
  return {padded.user.narrow(0, 0, static_cast<int64_t>(batch.user_ids.size())),
          padded.item.narrow(0, 0, static_cast<int64_t>(batch.item_ids.size()))};
}

}  // namespace

SegmentedStep::SegmentedStep(const StepMember& member, SharedStep* shared, StepClock* clock)
    : member_(member),
      shared_(shared),
      clock_(clock),
      lambdas_(LambdasOf(*member.state)),
      side_(std::make_unique<tensor::SideStream>(member.state->device())),
      places_({member}),
      graphs_(member.state->device()),
      nothing_(Nothing()) {}

SegmentedStep::~SegmentedStep() { graphs_.Finish(); }

absl::StatusOr<model::Losses> SegmentedStep::Run(const StepInput& input, StepVotes* votes) {
  const Phase phase("mixrec::rest");
  const data::PackedBatch& batch = *input.batch;
  const Sent sent = Send(input, *votes);
  Plan* const plan = batch.tokens.empty() ? &nothing_ : Stage(input);
  if (shared_ != nullptr) shared_->Start(batch, input.step);
  MIXREC_RETURN_IF_ERROR(Pull(input, plan));
  clock_->Lap(&StepTimes::pull);

  Pass* const pass = Forward(plan);
  clock_->Lap(&StepTimes::forward);

  MIXREC_ASSIGN_OR_RETURN(const at::Tensor parts, Softmax(batch, *pass, plan->d_states));
  MIXREC_RETURN_IF_ERROR(StartItemUpdate(parts, input.learning_rate));
  clock_->Lap(&StepTimes::softmax);

  Backward(plan, pass);
  const at::Tensor sums = at::cat({parts, sent.votes});
  model::CfRows d_rows = RowsOf(batch, pass->d_rows);
  if (shared_ != nullptr) MIXREC_RETURN_IF_ERROR(shared_->Finish(batch, sums, &d_rows));
  clock_->Lap(&StepTimes::backward);

  const at::Tensor total = sums.narrow(0, 0, kParts).dot(lambdas_).unsqueeze(0);
  Update(batch, sent.schedule, total, d_rows);
  return Finish(input, at::cat({sums, total}), d_rows, votes);
}

SegmentedStep::Sent SegmentedStep::Send(const StepInput& input, const StepVotes& votes) const {
  const auto schedule =
      tensor::ScheduleOf(member_.options.optimizer, input.learning_rate, input.step + 1);
  std::vector<float> numbers(schedule.begin(), schedule.end());
  numbers.insert(numbers.end(),
                 {static_cast<float>(votes.stop), static_cast<float>(votes.checkpoint)});
  const at::Tensor sent = tensor::FloatTensor(numbers, member_.state->device());
  return {sent.narrow(0, 0, tensor::kScheduleSize), sent.narrow(0, tensor::kScheduleSize, 2)};
}

// The device may still be busy with everything; the next batch is made ready meanwhile.
absl::StatusOr<model::Losses> SegmentedStep::Finish(const StepInput& input,
                                                    const at::Tensor& results,
                                                    const model::CfRows& d_rows, StepVotes* votes) {
  ModelState* const state = member_.state;
  const at::Tensor numbers = tensor::ToHost(results);
  const bool pushes = !resident() && state->updates_rows();
  model::CfRows pushed;
  if (pushes) pushed = {tensor::ToHost(d_rows.user), tensor::ToHost(d_rows.item)};
  places_.DropPrepared();
  if (input.next != nullptr && !input.next->tokens.empty()) {
    places_.Prepare({{input.next}, {input.step + 1}});
  }
  clock_->Lap(&StepTimes::optimizer);
  graphs_.Finish();
  clock_->Lap(&StepTimes::device);
  if (shared_ != nullptr) MIXREC_RETURN_IF_ERROR(member_.options.group->failure());

  const float* value = numbers.data_ptr<float>();
  if (shared_ != nullptr) *votes = {value[kParts], value[kParts + 1]};
  const model::Losses losses{value[0], value[1], value[2], value[3], value[kParts + 2]};
  if (!std::isfinite(losses.total)) return losses;
  if (pushes) {
    MIXREC_RETURN_IF_ERROR(
        state->PushRows(input.batch->user_ids, input.batch->item_ids, pushed, input.learning_rate));
  }
  state->set_step(input.step + 1);
  clock_->Lap(&StepTimes::optimizer);
  return losses;
}

SegmentedStep::Plan* SegmentedStep::Stage(const StepInput& input) {
  const BatchPlaces::Staged& staged = places_.Take({{input.batch}, {input.step}});
  Plan* const plan = &plans_[staged.place];
  if (plan->moves != staged.place->moves) Reset(*staged.place, plan);
  staged.place->buffer.copy_(staged.bytes, /*non_blocking=*/true);
  return plan;
}

void SegmentedStep::Reset(const BatchPlace& place, Plan* plan) {
  captured_ -= plan->forward != nullptr;
  *plan = Plan();
  plan->moves = place.moves;
  plan->stream = place.streams[0];
  ModelState* const state = member_.state;
  const at::TensorOptions computed = state->backbone().word_embedding.options();
  plan->d_states = at::zeros({place.shape.reads, state->network().state_width()}, computed);
  if (resident() || !state->options().has_cf()) return;
  const int64_t width = state->options().cf_width();
  plan->pulled.user = at::zeros({place.shape.user_ids, width}, computed.dtype(at::kFloat));
  plan->pulled.item = at::zeros({place.shape.item_ids, width}, computed.dtype(at::kFloat));
}

// No reads and no rows: what a rank without users brings.
SegmentedStep::Plan SegmentedStep::Nothing() const {
  const at::TensorOptions computed = member_.state->backbone().word_embedding.options();
  const at::TensorOptions exact = computed.dtype(at::kFloat);
  Plan plan;
  plan.d_states = at::empty({0, member_.state->network().state_width()}, computed);
  Pass& pass = plan.launched;
  pass.states = pass.d_contrastive = plan.d_states;
  pass.sequence_weights = pass.alignment_weights = pass.weights = at::empty({0}, exact);
  pass.contrastive = pass.cf = at::zeros({}, exact);
  return plan;
}

absl::Status SegmentedStep::Pull(const StepInput& input, Plan* plan) {
  ModelState* const state = member_.state;
  if (resident() && plan != &nothing_) return absl::OkStatus();  // a part of the forward
  MIXREC_ASSIGN_OR_RETURN(const model::CfRows rows, state->PullRows(*input.batch));
  if (input.next != nullptr) state->PrefetchRows(*input.next);
  if (plan == &nothing_) {
    plan->launched.d_rows = model::ZerosLike(rows);
  } else if (rows.user.defined()) {
    const model::CfRows places = RowsOf(*input.batch, plan->pulled);
    at::Tensor(places.user).copy_(rows.user);
    at::Tensor(places.item).copy_(rows.item);
  }
  return absl::OkStatus();
}

// Both cross-entropies in one pass over the item projection (paper Sec. 2.2.2, 2.2.3), of the reads
// that are the batch's own. Fills d_states.
absl::StatusOr<at::Tensor> SegmentedStep::Softmax(const data::PackedBatch& batch, const Pass& pass,
                                                  at::Tensor d_states) {
  const Phase softmax("mixrec::item softmax");
  const bool aligns = member_.state->options().lambda_align > 0;
  std::vector<int32_t> labels = batch.targets;
  if (aligns) {
    labels.insert(labels.end(), batch.alignment_items.begin(), batch.alignment_items.end());
  }
  const auto own = [&](const at::Tensor& padded) {
    return padded.narrow(0, 0, static_cast<int64_t>(labels.size()));
  };
  MIXREC_ASSIGN_OR_RETURN(const CrossEntropies entropies,
                          member_.state->projection().CrossEntropy(
                              member_.state->step(), own(pass.states), labels, own(pass.weights)));
  d_states.copy_(pass.d_contrastive);
  own(d_states).add_(entropies.d_states);
  const at::Tensor sequence = entropies.values.dot(own(pass.sequence_weights));
  const at::Tensor alignment =
      aligns ? entropies.values.dot(own(pass.alignment_weights)) : at::zeros_like(sequence);
  return at::stack({sequence, alignment, pass.contrastive, pass.cf});
}

// Rows on servers are updated while the backward runs. The device has done what it had, since the
// states have left it.
absl::Status SegmentedStep::StartItemUpdate(const at::Tensor& losses, double learning_rate) {
  if (resident()) return absl::OkStatus();
  const bool moves = std::isfinite(losses.dot(lambdas_).item<double>());
  return moves ? member_.state->projection().StartUpdate(learning_rate) : absl::OkStatus();
}

// Of what lives in this process; nothing moves unless the total is finite.
void SegmentedStep::Update(const data::PackedBatch& batch, const at::Tensor& schedule,
                           const at::Tensor& total, const model::CfRows& d_rows) {
  const Phase phase("mixrec::optimizer");
  ModelState* const state = member_.state;
  tensor::ClipGradientNormOnDevice(state->parameters().flat_gradient(), member_.options.clip_norm);
  member_.optimizer->Step(schedule, total);
  if (!resident()) return;
  if (state->updates_rows()) {
    const auto index = [&](const std::vector<int32_t>& own, const std::vector<int32_t>& whole) {
      return tensor::IndexTensor(shared_ == nullptr ? own : whole, state->device());
    };
    state->PushResidentRows(index(batch.user_ids, batch.whole.user_ids),
                            index(batch.item_ids, batch.whole.item_ids), d_rows, schedule, total);
  }
  state->embedded_projection().Step(schedule, total);
}

}  // namespace mixrec::worker
