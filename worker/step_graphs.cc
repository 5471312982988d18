#include "worker/step_graphs.h"

#include <cstring>
#include <utility>

#include "common/log.h"
#include "tensor/device_step.h"

namespace mixrec::worker {

StepGraphs::StepGraphs(std::vector<StepMember> members, const StepGraphOptions& graphs)
    : members_(std::move(members)),
      graph_options_(graphs),
      step_(members_),
      places_(members_),
      graphs_(device()),
      host_losses_(
          at::empty({static_cast<int64_t>(members_.size()), ResidentStep::kLosses},
                    at::TensorOptions().dtype(at::kFloat).pinned_memory(device().is_cuda()))) {}

StepGraphs::~StepGraphs() { graphs_.Finish(); }

std::vector<model::Losses> StepGraphs::Run(const std::vector<StepInput>& inputs) {
  CHECK_EQ(inputs.size(), members_.size());
  StagedInputs wanted, next;
  for (const StepInput& input : inputs) {
    wanted.batches.push_back(input.batch);
    wanted.steps.push_back(input.step);
    if (input.next == nullptr) continue;
    next.batches.push_back(input.next);
    next.steps.push_back(input.step + 1);
  }
  const BatchPlaces::Staged& now = places_.Take(wanted);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto schedule = tensor::ScheduleOf(members_[i].options.optimizer, inputs[i].learning_rate,
                                             inputs[i].step + 1);
    std::memcpy(static_cast<char*>(now.bytes.data_ptr()) + now.schedules[i], schedule.data(),
                sizeof(schedule));
  }
  now.place->buffer.copy_(now.bytes, /*non_blocking=*/true);
  Plan& plan = plans_[now.place];
  host_losses_.copy_(Launch(*now.place, &plan), /*non_blocking=*/true);
  if (next.batches.size() == members_.size()) {
    places_.Prepare(next);
  } else {
    places_.DropPrepared();
  }
  graphs_.Finish();
  std::vector<model::Losses> losses;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const float* values = host_losses_.data_ptr<float>() + i * ResidentStep::kLosses;
    losses.push_back({values[ResidentStep::kSequence], values[ResidentStep::kAlignment],
                      values[ResidentStep::kContrastive], values[ResidentStep::kCf],
                      values[ResidentStep::kTotal]});
  }
  return losses;
}

// The first step of a shape is launched as it is, which loads kernels and chooses algorithms; the
// second one is captured first.
at::Tensor StepGraphs::Launch(const BatchPlace& place, Plan* plan) {
  if (plan->moves != place.moves) {
    captured_ -= plan->graph != nullptr;
    *plan = Plan();
    plan->moves = place.moves;
  }
  const bool captures = graph_options_.capture && graphs_.captures();
  if (captures && plan->graph == nullptr && plan->uses > 0 &&
      captured_ < graph_options_.most_graphs) {
    const auto run = [&](const auto&) { plan->losses = step_.Run(place.streams, place.schedules); };
    plan->graph = std::move(graphs_.Capture(run).front());
    ++captured_;
  }
  if (captures && plan->graph != nullptr) {
    plan->graph->Replay();
    return plan->losses;
  }
  ++plan->uses;
  return step_.Run(place.streams, place.schedules);
}

}  // namespace mixrec::worker
