// Train steps on a GPU that are captured as CUDA graphs and replayed: batches are padded to a few
// shapes (data/pad.h), each of which is captured once, so a step costs one launch, whatever the
// number of its kernels. Nothing waits for the device inside a step; the next batch is made ready
// while a step runs. Several models can be stepped side by side (resident_step.h): their batches
// are padded to one shape.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/Event.h>

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "data/packed_batch.h"
#include "model/mixrec_model.h"
#include "worker/batch_places.h"
#include "worker/graph_pool.h"
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
  // With `next`: a promise that this is the next step, with no look at the model in between, so
  // that it may begin before this step's losses are read. Its learning rate.
  std::optional<double> next_learning_rate = std::nullopt;
};

// Works on a CPU, too, without graphs.
class StepGraphs {
 public:
  StepGraphs(std::vector<StepMember> members, const StepGraphOptions& graphs);
  ~StepGraphs();

  // One step of every member. Waits for the losses, and meanwhile prepares the next batches, if all
  // are known, and has the device begin with them when this step is done, if all are promised.
  // Losses as TrainStep's.
  std::vector<model::Losses> Run(const std::vector<StepInput>& inputs);

  // Whether steps are captured and replayed from now on; a captured step keeps its graph.
  void set_capture(bool capture) { graph_options_.capture = capture; }

  int64_t shapes() const { return places_.shapes(); }
  int64_t captured() const { return captured_; }

 private:
  // What a place's step has come to.
  struct Plan {
    int64_t moves = 0, uses = 0;  // of the place as it is
    at::Tensor losses;            // [members, kLosses] of the graph
    std::unique_ptr<Graph> graph;
  };
  // Brings prepared batches to the device and launches their step; its losses will be on the host
  // when `done_` of the turn has happened.
  void Begin(const BatchPlaces::Staged& staged, const std::vector<double>& learning_rates);
  // Returns the losses [members, kLosses].
  at::Tensor Launch(const BatchPlace& place, Plan* plan);
  std::vector<model::Losses> LossesOf(int turn);
  at::Device device() const { return members_[0].state->device(); }

  const std::vector<StepMember> members_;
  StepGraphOptions graph_options_;
  ResidentStep step_;
  BatchPlaces places_;
  GraphPool graphs_;
  std::map<const BatchPlace*, Plan> plans_;
  // Steps begin in turn: one may be under way while the losses of the one before are read.
  int turn_ = 0;          // of the step begun last
  bool begun_ = false;    // it is the next Run's
  at::Tensor losses_[2];  // [members, kLosses] on the host
  std::optional<c10::Event> done_[2];
  int64_t captured_ = 0;
};

}  // namespace mixrec::worker
