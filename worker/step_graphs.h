// Train steps on a GPU that are captured as CUDA graphs and replayed: batches are padded to a few
// shapes (data/pad.h), each of which is captured once, so a step costs one launch, whatever the
// number of its kernels. Nothing waits for the device inside a step; the next batch is made ready
// while a step runs.
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

// Works on a CPU, too, without graphs.
class StepGraphs {
 public:
  StepGraphs(const StepOptions& options, const StepGraphOptions& graphs, ModelState* state,
             DenseOptimizer* optimizer);
  ~StepGraphs();

  // One step; `step` counts from 0. Waits for its losses, and meanwhile prepares `next` as the
  // batch of the step after it. Losses as TrainStep's.
  model::Losses Run(const data::PackedBatch& batch, int64_t step, double learning_rate,
                    const data::PackedBatch* next);

  // Whether steps are captured and replayed from now on; a captured step keeps its graph.
  void set_capture(bool capture) { graph_options_.capture = capture; }

  int64_t shapes() const { return static_cast<int64_t>(plans_.size()); }
  int64_t captured() const { return captured_; }

 private:
  struct Plan;
  struct Prepared;

  Prepared Prepare(const data::PackedBatch& batch, int64_t step);
  Plan* PlanFor(const data::PackedBatch& batch);
  void Launch(Plan* plan);
  void Capture(Plan* plan);

  StepOptions options_;
  StepGraphOptions graph_options_;
  ModelState* state_;
  ResidentStep step_;
  data::BatchShape largest_;  // of everything but rows, so far
  std::vector<std::unique_ptr<Plan>> plans_;
  std::unique_ptr<Prepared> ready_;  // the next batch, made ready
  at::Tensor host_losses_;
  int64_t captured_ = 0;
  int staging_ = 0;  // which of the two host buffers was filled last
  at::Tensor staged_[2];
};

}  // namespace mixrec::worker
