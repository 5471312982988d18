#include "worker/resident_step.h"

#include <utility>

#include "common/log.h"
#include "tensor/device_step.h"
#include "tensor/phase.h"
#include "worker/stream_losses.h"

namespace mixrec::worker {
namespace {

using tensor::Phase;

// A part of a [R, .] tensor for every stream.
std::vector<at::Tensor> ByReads(const std::vector<model::Stream>& streams, const at::Tensor& x) {
  std::vector<at::Tensor> parts;
  int64_t first = 0;
  for (const model::Stream& stream : streams) {
    parts.push_back(x.narrow(0, first, stream.read_rows.numel()));
    first += stream.read_rows.numel();
  }
  return parts;
}

}  // namespace

ResidentStep::ResidentStep(std::vector<StepMember> members)
    : members_(std::move(members)),
      branches_(members_.at(0).state->device(), static_cast<int64_t>(members_.size())),
      network_(&members_[0].state->network()) {
  std::vector<model::MixrecModel::Member> models;
  for (const StepMember& member : members_) {
    CHECK(member.state->resident()) << "tables on servers";
    CHECK(&member.state->backbone() == &members_[0].state->backbone()) << "two backbones";
    models.push_back({member.state->options(), &member.state->parameters()});
    lambdas_.push_back(LambdasOf(*member.state));
    // What has others beside it needs nothing on the side.
    sides_.push_back(std::make_unique<tensor::SideStream>(
        members_.size() == 1 ? member.state->device() : at::Device(at::kCPU)));
  }
  if (models.size() == 1) return;
  together_ = std::make_unique<model::MixrecModel>(members_[0].state->backbone(), models);
  network_ = together_.get();
}

at::Tensor ResidentStep::Run(const std::vector<model::Stream>& streams,
                             const std::vector<at::Tensor>& schedules) {
  const Phase phase("mixrec::rest");
  const size_t count = members_.size();
  CHECK(streams.size() == count && schedules.size() == count);
  std::vector<Progress> progress(count);
  const auto each = [&](const auto& work) {
    branches_.Each([&](int64_t member) { work(static_cast<size_t>(member)); });
  };
  each([&](size_t i) { Begin(i, streams[i], &progress[i]); });
  std::vector<model::CfRows> rows;
  for (const Progress& one : progress) rows.push_back(one.rows);
  const at::Tensor states = network_->Forward(streams, rows, /*training=*/true);

  const std::vector<at::Tensor> own_states = ByReads(streams, states);
  each([&](size_t i) { Losses(i, streams[i], own_states[i], &progress[i]); });
  std::vector<at::Tensor> d_states;
  for (const Progress& one : progress) d_states.push_back(one.d_states);
  const std::vector<model::CfRows> d_rows =
      network_->BackwardOfAll(count == 1 ? d_states[0] : at::cat(d_states));

  std::vector<at::Tensor> losses(count);
  each([&](size_t i) { losses[i] = Update(i, streams[i], schedules[i], d_rows[i], progress[i]); });
  return at::stack(losses);
}

void ResidentStep::Begin(size_t member, const model::Stream& stream, Progress* progress) const {
  ModelState* state = members_[member].state;
  progress->rows = state->PullResidentRows(stream);
  const model::CfRows& rows = progress->rows;
  sides_[member]->Run({rows.user, rows.item},
                      [&] { progress->cf = CfLoss(state, stream, rows, &progress->cf_rows); });
}

void ResidentStep::Losses(size_t member, const model::Stream& stream, const at::Tensor& states,
                          Progress* progress) const {
  ModelState* state = members_[member].state;
  const model::ModelOptions& model = state->options();
  const at::Tensor weights =
      at::add(stream.sequence_weights, stream.alignment_weights, model.lambda_align);
  at::Tensor d_contrastive;
  sides_[member]->Run({states}, [&] {
    progress->contrastive = ContrastiveLossOf(*state, stream, states, &d_contrastive);
  });
  const CrossEntropies entropies = [&] {
    const Phase softmax("mixrec::item softmax");
    return state->embedded_projection().CrossEntropyOf(states, stream.labels, weights);
  }();
  progress->sequence = entropies.values.dot(stream.sequence_weights);
  progress->alignment = model.lambda_align > 0 ? entropies.values.dot(stream.alignment_weights)
                                               : at::zeros_like(progress->sequence);
  sides_[member]->Join();
  progress->d_states = at::Tensor(entropies.d_states).add_(d_contrastive);
}

at::Tensor ResidentStep::Update(size_t member, const model::Stream& stream,
                                const at::Tensor& schedule, const model::CfRows& d_rows,
                                const Progress& progress) const {
  ModelState* state = members_[member].state;
  model::CfRows gradients = d_rows;
  if (gradients.user.defined()) {
    gradients.user.add_(progress.cf_rows.user);
    gradients.item.add_(progress.cf_rows.item);
  }
  const at::Tensor parts =
      at::stack({progress.sequence, progress.alignment, progress.contrastive, progress.cf});
  const at::Tensor losses = at::cat({parts, parts.dot(lambdas_[member]).unsqueeze(0)});

  const Phase optimizer("mixrec::optimizer");
  const at::Tensor total = losses.narrow(0, kTotal, 1);
  tensor::ClipGradientNormOnDevice(state->parameters().flat_gradient(),
                                   members_[member].options.clip_norm);
  state->PushResidentRows(stream, gradients, schedule, total);
  members_[member].optimizer->Step(schedule, total);
  state->embedded_projection().Step(schedule, total);
  return losses;
}

}  // namespace mixrec::worker
