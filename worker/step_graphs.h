// Train steps on a GPU that are captured as CUDA graphs and replayed: batches are padded to a few
// shapes (data/pad.h), each of which is captured once, so a step costs one launch, whatever the
// number of its kernels. Nothing waits for the device inside a step; the next batch is made ready
// while a step runs. Several models can be stepped side by side (resident_step.h): their batches
// are padded to one shape.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <optional>
#include <vector>

#include "data/packed_batch.h"
#include "data/pad.h"
#include "model/mixrec_model.h"
#include "worker/resident_step.h"

namespace mixrec::worker {

struct StepGraphOptions {
  bool capture = true;       // false: padded steps that are launched kernel by kernel
  int64_t most_graphs = 64;  // shapes beyond that are not captured
};

// A member's part of a step; `step` counts from 0.
struct StepInput {
  const data::PackedBatch* batch = nullptr;
  int64_t step = 0;
  double learning_rate = 0;
  const data::PackedBatch* next = nullptr;  // of the step after it; null: unknown
};

// Works on a CPU, too, without graphs.
class StepGraphs {
 public:
  StepGraphs(std::vector<StepMember> members, const StepGraphOptions& graphs);
  ~StepGraphs();

  // One step of every member. Waits for the losses, and meanwhile prepares the next batches, if all
  // are known. Losses as TrainStep's.
  std::vector<model::Losses> Run(const std::vector<StepInput>& inputs);

  // Whether steps are captured and replayed from now on; a captured step keeps its graph.
  void set_capture(bool capture) { graph_options_.capture = capture; }

  int64_t shapes() const { return static_cast<int64_t>(plans_.size()); }
  int64_t captured() const { return captured_; }

 private:
  struct Plan;
  struct Prepared;

  // What is ready at a step, or will be at the next one.
  struct Wanted {
    std::vector<const data::PackedBatch*> batches;
    std::vector<int64_t> steps;
  };
  bool IsReady(const Wanted& wanted) const;
  Prepared Prepare(const Wanted& wanted);
  Plan* PlanFor(const std::vector<const data::PackedBatch*>& batches);
  // Of every member; the same where batch and step are the same.
  using Lists = std::vector<std::shared_ptr<const model::StreamLists>>;
  Lists ListsOf(const Wanted& wanted, const data::BatchShape& shape) const;
  // Room on the device for batches like these.
  void MakeRoom(const Lists& lists, Plan* plan);
  void Launch(Plan* plan);
  at::Device device() const { return members_[0].state->device(); }
  void Capture(Plan* plan);

  const std::vector<StepMember> members_;
  StepGraphOptions graph_options_;
  ResidentStep step_;
  data::BatchShape largest_;  // of everything but rows, so far
  std::vector<std::unique_ptr<Plan>> plans_;
  std::unique_ptr<Prepared> ready_;  // the next batches, made ready
  at::Tensor host_losses_;           // [members, kLosses]
  int64_t captured_ = 0;
  int staging_ = 0;  // which of the two host buffers was filled last
  at::Tensor staged_[2];
};

}  // namespace mixrec::worker
