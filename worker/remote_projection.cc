#include "worker/remote_projection.h"

#include <algorithm>

#include "common/log.h"
#include "tensor/from_host.h"

namespace mixrec::worker {
namespace {

at::Tensor OnHost(const at::Tensor& tensor) { return tensor.to(at::kCPU, at::kFloat).contiguous(); }

}  // namespace

RemoteItemProjection::RemoteItemProjection(const ps::TableSpec& spec, const Placement& placement)
    : spec_(spec), session_(placement.session), sampling_(placement.sampling) {
  CHECK(session_ != nullptr);
}

absl::Status RemoteItemProjection::Initialise(uint64_t seed) {
  spec_.seed = seed;
  return session_->CreateTable(spec_);
}

absl::StatusOr<CrossEntropies> RemoteItemProjection::CrossEntropy(
    int64_t step, const at::Tensor& states, const std::vector<int32_t>& labels,
    const at::Tensor& weights) {
  const ps::Session::Ticket ticket =
      session_->StartSoftmax(spec_.name, step, OnHost(states), labels, sampling_);
  const at::Tensor host_weights = OnHost(weights);
  MIXREC_ASSIGN_OR_RETURN(const ps::SoftmaxResult result,
                          waits_.Time([&] { return session_->FinishSoftmax(ticket); }));
  forward_ = Forward{ticket, result.log_sum_exp, host_weights};
  CrossEntropies entropies;
  entropies.values = tensor::ToDevice(result.entropies, states.device());
  entropies.d_states =
      tensor::ToDevice(result.gradient * host_weights.unsqueeze(1), states.device())
          .to(states.scalar_type());
  return entropies;
}

absl::Status RemoteItemProjection::StartUpdate(double learning_rate) {
  CHECK(forward_.has_value());
  MIXREC_RETURN_IF_ERROR(Settle());
  update_ = session_->StartSoftmaxBackward(forward_->ticket, learning_rate, forward_->log_sum_exp,
                                           forward_->weights);
  forward_.reset();
  return absl::OkStatus();
}

absl::Status RemoteItemProjection::Settle() {
  if (!update_) return absl::OkStatus();
  const ps::Session::Ticket ticket = *update_;
  update_.reset();
  return waits_.Time([&] { return session_->Finish(ticket); });
}

absl::StatusOr<std::vector<int64_t>> RemoteItemProjection::Ranks(
    int64_t step, const at::Tensor& states, const std::vector<int32_t>& targets,
    const ItemLists& excluded) {
  return session_->Rank(spec_.name, step, {OnHost(states), targets, excluded});
}

absl::StatusOr<RankedItems> RemoteItemProjection::TopK(int64_t step, const at::Tensor& states,
                                                       int64_t k, const ItemLists& excluded) {
  ps::TopKRequest request;
  request.states = OnHost(states);
  request.k = static_cast<int>(std::min(k, spec_.rows));
  request.excluded = excluded;
  MIXREC_ASSIGN_OR_RETURN(const ps::TopKResult best, session_->TopK(spec_.name, step, request));
  return RankedItems{best.ids, best.scores};
}

}  // namespace mixrec::worker
