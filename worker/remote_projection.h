// The item projection on a parameter server: the vocabulary-parallel softmax of ps.md. The table
// never comes here; states go out, losses and gradients of states come back.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "ps/session.h"
#include "worker/item_projection.h"
#include "worker/placement.h"
#include "worker/wait_clock.h"

namespace mixrec::worker {

class RemoteItemProjection : public ItemProjection {
 public:
  // The placement's session must be there.
  RemoteItemProjection(const ps::TableSpec& spec, const Placement& placement);

  // Makes the table on the servers.
  absl::Status Initialise(uint64_t seed) override;
  absl::StatusOr<CrossEntropies> CrossEntropy(int64_t step, const at::Tensor& states,
                                              const std::vector<int32_t>& labels,
                                              const at::Tensor& weights) override;
  // Sends the second half of the softmax, and returns at once, but for the one before.
  absl::Status StartUpdate(double learning_rate) override;
  absl::Status FinishUpdate() override { return absl::OkStatus(); }
  absl::Status Settle() override;
  double waited_seconds() const override { return waits_.seconds(); }
  absl::StatusOr<std::vector<int64_t>> Ranks(int64_t step, const at::Tensor& states,
                                             const std::vector<int32_t>& targets,
                                             const ItemLists& excluded) override;
  absl::StatusOr<RankedItems> TopK(int64_t step, const at::Tensor& states, int64_t k,
                                   const ItemLists& excluded) override;

 private:
  struct Forward {
    ps::Session::Ticket ticket;
    at::Tensor log_sum_exp, weights;  // [N] fp32 on the CPU
  };

  ps::TableSpec spec_;
  ps::Session* session_;
  ps::Sampling sampling_;
  std::optional<Forward> forward_;
  std::optional<ps::Session::Ticket> update_;
  WaitClock waits_;
};

}  // namespace mixrec::worker
