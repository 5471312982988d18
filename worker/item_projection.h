// The item projection: one row of weights and a bias for every item, over which the losses of a
// step and the ranking of an evaluation are softmaxes. Workers see it through one door, so that its
// rows can live in the process (embedded_projection.h) or on a parameter server
// (remote_projection.h).
//
// I items, N states, D hidden width.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "collective/group.h"
#include "common/status.h"
#include "model/safetensors.h"

namespace mixrec::worker {

// Per state, items that do not count; or no lists at all.
using ItemLists = std::vector<std::vector<int32_t>>;

struct CrossEntropies {
  at::Tensor values;    // [N] fp32, unweighted, on the states' device
  at::Tensor d_states;  // [N, D] d (weights . values) / d states, like the states
};

struct RankedItems {
  at::Tensor items;   // [N, k] int32, best first, ties by smaller item; -1 where none is left
  at::Tensor scores;  // [N, k] fp32, -inf where none is left; both on the CPU
};

// One thread at a time. States are [N, D] on the model's device, in its compute dtype. `step` is
// the number of updates that the rows asked for contain.
class ItemProjection {
 public:
  virtual ~ItemProjection() = default;

  // Allocates what updates need in this process; evaluation does without. The ranks of `group`,
  // unless it is null, train together: they call CrossEntropy, FinishUpdate and Settle at the same
  // times.
  virtual void PrepareTraining(collective::Group* /*group*/) {}
  // Initial values, a function of the seed, the name and the row alone (model.md D34).
  virtual absl::Status Initialise(uint64_t seed) = 0;

  // With a group: how many states each of its ranks brings to the next CrossEntropy.
  virtual void Announce(const std::vector<int64_t>& /*states_of_ranks*/) {}
  // -log softmax(W h + b)[label] of every state. `weights` [N] fp32 are those of the loss.
  virtual absl::StatusOr<CrossEntropies> CrossEntropy(int64_t step, const at::Tensor& states,
                                                      const std::vector<int32_t>& labels,
                                                      const at::Tensor& weights) = 0;
  // Begins the optimiser's step on the gradient of the last CrossEntropy: rows that live elsewhere
  // are updated there while the model's backward runs.
  virtual absl::Status StartUpdate(double learning_rate) = 0;
  // Every loss of the step was finite: rows that live here are updated now.
  virtual absl::Status FinishUpdate() = 0;

  // Waits until every update that was started is done, wherever the rows live, and this process
  // sees them all.
  virtual absl::Status Settle() { return absl::OkStatus(); }

  // Seconds spent in waiting for servers so far.
  virtual double waited_seconds() const { return 0; }

  // 1-based ranks of the targets among all items; equal scores are ranked by smaller item first
  // (model.md D31). A target is never excluded.
  virtual absl::StatusOr<std::vector<int64_t>> Ranks(int64_t step, const at::Tensor& states,
                                                     const std::vector<int32_t>& targets,
                                                     const ItemLists& excluded) = 0;
  // The k best items, fewer when there are fewer.
  virtual absl::StatusOr<RankedItems> TopK(int64_t step, const at::Tensor& states, int64_t k,
                                           const ItemLists& excluded) = 0;

  // What lives in this process, by checkpoint name, as fp32 views: nothing with servers.
  virtual model::NamedTensors Values() const { return {}; }
  virtual model::NamedTensors OptimizerState() const { return {}; }
  // To be called when Values were changed from outside.
  virtual void Refresh() {}
};

}  // namespace mixrec::worker
