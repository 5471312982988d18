#include "worker/resident_step.h"

#include <utility>

#include "common/log.h"
#include "tensor/device_step.h"
#include "tensor/phase.h"

namespace mixrec::worker {
namespace {

using tensor::Phase;

// What the parts of the total are multiplied by.
at::Tensor LambdasOf(const ModelState& state) {
  const model::ModelOptions& model = state.options();
  const std::vector<float> lambdas{1.0f, static_cast<float>(model.lambda_align),
                                   static_cast<float>(model.lambda_cl),
                                   static_cast<float>(model.lambda_cf)};
  return at::tensor(lambdas, at::kFloat).to(state.device());
}

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
  std::vector<model::CfRows> rows(count);
  branches_.Each([&](int64_t member) {
    const auto i = static_cast<size_t>(member);
    rows[i] = members_[i].state->PullResidentRows(streams[i]);
  });
  const at::Tensor states = network_->Forward(streams, rows, /*training=*/true);

  std::vector<Progress> progress(count);
  const std::vector<at::Tensor> own_states = ByReads(streams, states);
  branches_.Each([&](int64_t member) {
    const auto i = static_cast<size_t>(member);
    progress[i] = Losses(members_[i], streams[i], own_states[i]);
  });
  std::vector<at::Tensor> d_states;
  for (const Progress& one : progress) d_states.push_back(one.d_states);
  std::vector<model::CfRows> d_rows =
      network_->BackwardOfAll(count == 1 ? d_states[0] : at::cat(d_states));

  std::vector<at::Tensor> losses(count);
  branches_.Each([&](int64_t member) {
    const auto i = static_cast<size_t>(member);
    losses[i] = Update(i, streams[i], schedules[i], rows[i], std::move(d_rows[i]), progress[i]);
  });
  return at::stack(losses);
}

ResidentStep::Progress ResidentStep::Losses(const StepMember& member, const model::Stream& stream,
                                            const at::Tensor& states) const {
  const model::ModelOptions& model = member.state->options();
  const at::Tensor weights =
      at::add(stream.sequence_weights, stream.alignment_weights, model.lambda_align);
  const CrossEntropies entropies = [&] {
    const Phase softmax("mixrec::item softmax");
    return member.state->embedded_projection().CrossEntropyOf(states, stream.labels, weights);
  }();
  Progress progress;
  progress.d_states = entropies.d_states;
  progress.sequence = entropies.values.dot(stream.sequence_weights);
  progress.alignment = model.lambda_align > 0 ? entropies.values.dot(stream.alignment_weights)
                                              : at::zeros_like(progress.sequence);
  const Phase contrast("mixrec::contrastive loss");
  progress.contrastive = model::ContrastiveLoss(stream, states, model.temperature, model.lambda_cl,
                                                entropies.d_states);
  return progress;
}

at::Tensor ResidentStep::Update(size_t member, const model::Stream& stream,
                                const at::Tensor& schedule, const model::CfRows& rows,
                                model::CfRows d_rows, const Progress& progress) const {
  ModelState* state = members_[member].state;
  const model::ModelOptions& model = state->options();
  const at::Tensor cf = [&] {
    const Phase bpr("mixrec::collaborative filtering");
    return model.has_cf() ? state->cf().BprLoss(stream, rows, model.lambda_cf, &d_rows)
                          : at::zeros_like(progress.sequence);
  }();
  const at::Tensor parts =
      at::stack({progress.sequence, progress.alignment, progress.contrastive, cf});
  const at::Tensor losses = at::cat({parts, parts.dot(lambdas_[member]).unsqueeze(0)});

  const Phase optimizer("mixrec::optimizer");
  const at::Tensor total = losses.narrow(0, kTotal, 1);
  tensor::ClipGradientNormOnDevice(state->parameters().flat_gradient(),
                                   members_[member].options.clip_norm);
  state->PushResidentRows(stream, d_rows, schedule, total);
  members_[member].optimizer->Step(schedule, total);
  state->embedded_projection().Step(schedule, total);
  return losses;
}

}  // namespace mixrec::worker
