#include "worker/step_graphs.h"

#include <c10/core/impl/VirtualGuardImpl.h>

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
      graphs_(device()) {
  for (int turn = 0; turn < 2; ++turn) {
    losses_[turn] =
        at::empty({static_cast<int64_t>(members_.size()), ResidentStep::kLosses},
                  at::TensorOptions().dtype(at::kFloat).pinned_memory(device().is_cuda()));
    if (!device().is_cpu()) done_[turn].emplace(device().type());
  }
}

StepGraphs::~StepGraphs() { graphs_.Finish(); }

std::vector<model::Losses> StepGraphs::Run(const std::vector<StepInput>& inputs) {
  CHECK_EQ(inputs.size(), members_.size());
  StagedInputs wanted, next;
  std::vector<double> rates, next_rates;
  for (const StepInput& input : inputs) {
    wanted.batches.push_back(input.batch);
    wanted.steps.push_back(input.step);
    rates.push_back(input.learning_rate);
    if (input.next == nullptr) continue;
    next.batches.push_back(input.next);
    next.steps.push_back(input.step + 1);
    if (input.next_learning_rate) next_rates.push_back(*input.next_learning_rate);
  }
  if (begun_) {
    CHECK(places_.IsReady(wanted)) << "a step other than the one promised";
  } else {
    Begin(places_.Take(wanted), rates);
  }
  const int turn = turn_;
  begun_ = false;
  if (next.batches.size() == members_.size()) {
    const BatchPlaces::Staged& staged = places_.Prepare(next);
    begun_ = next_rates.size() == members_.size();
    if (begun_) Begin(staged, next_rates);
  } else {
    places_.DropPrepared();
  }
  return LossesOf(turn);
}

void StepGraphs::Begin(const BatchPlaces::Staged& staged,
                       const std::vector<double>& learning_rates) {
  for (size_t i = 0; i < members_.size(); ++i) {
    const auto schedule =
        tensor::ScheduleOf(members_[i].options.optimizer, learning_rates[i], staged.steps[i] + 1);
    std::memcpy(static_cast<char*>(staged.bytes.data_ptr()) + staged.schedules[i], schedule.data(),
                sizeof(schedule));
  }
  staged.place->buffer.copy_(staged.bytes, /*non_blocking=*/true);
  turn_ ^= 1;
  losses_[turn_].copy_(Launch(*staged.place, &plans_[staged.place]), /*non_blocking=*/true);
  if (!done_[turn_]) return;
  done_[turn_]->record(c10::impl::VirtualGuardImpl(device().type()).getStream(device()));
}

std::vector<model::Losses> StepGraphs::LossesOf(int turn) {
  if (done_[turn]) done_[turn]->synchronize();
  std::vector<model::Losses> losses;
  for (size_t i = 0; i < members_.size(); ++i) {
    const float* values = losses_[turn].data_ptr<float>() + i * ResidentStep::kLosses;
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
    if (plan->graph != nullptr) graphs_.Finish();  // it may be running
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
