// Forward and backward of a segmented step: launched, or captured and replayed.
#include "common/log.h"
#include "worker/segmented_step.h"
#include "worker/stream_losses.h"

namespace mixrec::worker {

// The first step of a shape is launched as it is, which loads kernels and chooses algorithms; the
// second one is captured first.
SegmentedStep::Pass* SegmentedStep::Forward(Plan* plan) {
  if (plan == &nothing_) return &plan->launched;
  const bool captures = graph_options_.capture && graphs_.captures();
  if (captures && plan->forward == nullptr && plan->uses > 0 &&
      captured_ < graph_options_.most_graphs) {
    Capture(plan);
  }
  if (captures && plan->forward != nullptr) {
    plan->forward->Replay();
    return &plan->captured;
  }
  ++plan->uses;
  ComputeForward(*plan, &plan->launched);
  return &plan->launched;
}

void SegmentedStep::Backward(Plan* plan, Pass* pass) {
  const auto complete = shared_ == nullptr ? nullptr : shared_->complete();
  if (plan == &nothing_) {
    if (complete) member_.state->network().SkipBackward(complete);
  } else if (pass == &plan->launched) {
    ComputeBackward(*plan, pass, complete);
  } else {
    for (const Stretch& stretch : plan->backward) {
      stretch.graph->Replay();
      for (const auto& [first, last] : stretch.complete) complete(first, last);
    }
  }
}

// Everything but the softmax's part: the losses that need no items are known before the backward.
void SegmentedStep::ComputeForward(const Plan& plan, Pass* pass) const {
  ModelState* const state = member_.state;
  const model::ModelOptions& model = state->options();
  const model::Stream& stream = plan.stream;
  pass->sequence_weights = stream.sequence_weights;
  pass->alignment_weights = stream.alignment_weights;
  pass->weights = at::add(stream.sequence_weights, stream.alignment_weights, model.lambda_align);
  pass->rows = resident() ? state->PullResidentRows(stream) : plan.pulled;
  side_->Run({pass->rows.user, pass->rows.item},
             [&] { pass->cf = CfLoss(state, stream, pass->rows, &pass->d_cf); });
  pass->states = state->network().Forward(stream, pass->rows, /*training=*/true);
  pass->contrastive = ContrastiveLossOf(*state, stream, pass->states, &pass->d_contrastive);
  side_->Join();
}

void SegmentedStep::ComputeBackward(const Plan& plan, Pass* pass,
                                    const model::MixrecModel::Complete& complete) const {
  pass->d_rows = member_.state->network().Backward(plan.d_states, complete);
  if (!pass->d_rows.user.defined()) return;
  pass->d_rows.user.add_(pass->d_cf.user);
  pass->d_rows.item.add_(pass->d_cf.item);
}

void SegmentedStep::Capture(Plan* plan) {
  Pass* const pass = &plan->captured;
  plan->forward =
      std::move(graphs_.Capture([&](const auto&) { ComputeForward(*plan, pass); }).front());
  plan->backward.resize(1);
  int64_t bytes = 0;
  auto graphs = graphs_.Capture([&](const GraphPool::Cut& cut) {
    const auto complete = [&](int64_t first, int64_t last) {
      plan->backward.back().complete.emplace_back(first, last);
      bytes += (last - first) * static_cast<int64_t>(sizeof(float));
      if (bytes < shared_->bucket_bytes()) return;
      cut();  // a bucket leaves while the next stretch runs
      plan->backward.emplace_back();
      bytes = 0;
    };
    if (shared_ == nullptr) return ComputeBackward(*plan, pass, nullptr);
    ComputeBackward(*plan, pass, complete);
  });
  CHECK_EQ(graphs.size(), plan->backward.size());
  for (size_t i = 0; i < graphs.size(); ++i) plan->backward[i].graph = std::move(graphs[i]);
  ++captured_;
}

}  // namespace mixrec::worker
