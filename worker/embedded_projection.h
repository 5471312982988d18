// The item projection in this process, on the model's device. When the ranks of a group train
// together, each moves a slice of the items (split_softmax.h), and has the others' rows as they
// were at the last Settle.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "model/parameters.h"
#include "tensor/optimizer.h"
#include "worker/dense_optimizer.h"
#include "worker/item_projection.h"
#include "worker/split_softmax.h"

namespace mixrec::worker {

class EmbeddedItemProjection : public ItemProjection {
 public:
  // `specs`: the weight [I, D] and the bias [I]. Values are zero; the forward pass reads a copy in
  // `compute_dtype`.
  EmbeddedItemProjection(std::vector<model::ParameterSpec> specs, at::Device device,
                         at::ScalarType compute_dtype, const tensor::AdamWOptions& optimizer);

  void PrepareTraining(collective::Group* group) override;
  absl::Status Initialise(uint64_t seed) override;
  void Announce(const std::vector<int64_t>& states_of_ranks) override {
    states_of_ranks_ = states_of_ranks;
  }
  absl::StatusOr<CrossEntropies> CrossEntropy(int64_t step, const at::Tensor& states,
                                              const std::vector<int32_t>& labels,
                                              const at::Tensor& weights) override;
  absl::Status StartUpdate(double learning_rate) override;
  absl::Status FinishUpdate() override;
  // With a group: the rows and moments of every rank's slice come here.
  absl::Status Settle() override;
  absl::StatusOr<std::vector<int64_t>> Ranks(int64_t step, const at::Tensor& states,
                                             const std::vector<int32_t>& targets,
                                             const ItemLists& excluded) override;
  absl::StatusOr<RankedItems> TopK(int64_t step, const at::Tensor& states, int64_t k,
                                   const ItemLists& excluded) override;
  model::NamedTensors Values() const override;
  model::NamedTensors OptimizerState() const override;
  void Refresh() override { parameters_.RefreshCompute(); }

  // CrossEntropy and the update after it with everything on the device (resident_step.h). Gradients
  // are zero before the first and after the second, which also follows CrossEntropy, of the slice
  // with a group.
  CrossEntropies CrossEntropyOf(const at::Tensor& states, const at::Tensor& labels,
                                const at::Tensor& weights);
  void Step(const at::Tensor& schedule, const at::Tensor& total);

  // Scores of all items for states [N, D]: [N, I] fp32.
  at::Tensor Scores(const at::Tensor& states) const;

 private:
  absl::StatusOr<CrossEntropies> SplitCrossEntropy(const at::Tensor& states,
                                                   const at::Tensor& labels,
                                                   const at::Tensor& weights);
  // step(first, last) with every stretch of the flat buffers that this rank updates.
  void ForEachOwnRange(const std::function<void(int64_t, int64_t)>& step) const;

  model::DenseParameters parameters_;
  tensor::AdamWOptions options_;
  std::optional<DenseOptimizer> optimizer_;  // in training
  std::optional<SplitSoftmax> split_;        // in training with a group
  std::vector<int64_t> states_of_ranks_;
  bool settled_ = true;
  int64_t step_ = 0;  // of the last CrossEntropy
  double learning_rate_ = 0;
};

}  // namespace mixrec::worker
