// Private to worker/: the softmax over all items by the ranks of a worker group, each of which has
// a slice of the items and computes it for the states of all ranks.
//
// Against a gradient of the whole projection that is summed over the ranks, states travel instead
// of rows (N x D for I x D), and products, optimiser and its traffic are divided by the ranks.
//
// I items, J items of this rank, N states of this rank, M states of all ranks, D hidden width.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "collective/group.h"
#include "common/status.h"
#include "worker/item_projection.h"

namespace mixrec::worker {

// This rank's items. All on one device.
struct ItemSlice {
  at::Tensor weight, bias;      // [J, D] compute dtype, [J] fp32
  at::Tensor d_weight, d_bias;  // [J, D], [J] fp32
};

class SplitSoftmax {
 public:
  SplitSoftmax(collective::Group* group, int64_t items);

  // This rank's items [first, last); ranks of the end may have none.
  int64_t first_item() const { return std::min(items_, group_->rank() * block_); }
  int64_t last_item() const { return std::min(items_, (group_->rank() + 1) * block_); }

  // As ItemProjection::CrossEntropy, `labels` [N] int64; adds the gradients of the slice.
  // `states_of_ranks` [ranks]: N of each. Combined in the order of the ranks.
  absl::StatusOr<CrossEntropies> CrossEntropy(int64_t step,
                                              const std::vector<int64_t>& states_of_ranks,
                                              const at::Tensor& states, const at::Tensor& labels,
                                              const at::Tensor& weights, ItemSlice slice);

  // Every rank's rows of tensors [I, ...] go to everybody.
  absl::Status GatherRows(const std::vector<at::Tensor>& tensors);

 private:
  // Of all ranks, rank by rank.
  struct States {
    at::Tensor states, labels, weights;  // [M, D], [M] int64, [M] fp32
    at::Tensor places;                   // [M] int64: where they lie in [ranks * most]
    int64_t most = 0;                    // of a rank
  };
  absl::StatusOr<States> GatherStates(int64_t step, const std::vector<int64_t>& states_of_ranks,
                                      const at::Tensor& states, const at::Tensor& labels,
                                      const at::Tensor& weights);
  struct Logits;
  absl::StatusOr<at::Tensor> LogSumExp(int64_t step, Logits* logits, at::Tensor values);

  collective::Group* group_;
  const int64_t items_, block_;  // block_: items of a rank, but for the last ones
};

}  // namespace mixrec::worker
