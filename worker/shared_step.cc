#include "worker/shared_step.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "tensor/from_host.h"

namespace mixrec::worker {
namespace {

// GPUs sum in less time than an operation takes to start, and a captured backward is cut for every
// bucket (segmented_step.h).
int64_t BucketBytes(at::Device device) { return int64_t{device.is_cuda() ? 4 : 1} << 20; }

// Rows of `ids` at their places among all of `whole`, which ascend; zeros elsewhere.
at::Tensor AmongAll(const std::vector<int32_t>& ids, const at::Tensor& rows,
                    const std::vector<int32_t>& whole) {
  std::vector<int64_t> places;
  for (const int32_t id : ids) {
    const auto found = std::lower_bound(whole.begin(), whole.end(), id);
    CHECK(found != whole.end() && *found == id) << "row " << id << " is not one of the step's";
    places.push_back(found - whole.begin());
  }
  at::Tensor all = at::zeros({static_cast<int64_t>(whole.size()), rows.size(1)}, rows.options());
  const at::Tensor index =
      tensor::ToDevice(at::tensor(at::ArrayRef<int64_t>(places), at::kLong), rows.device());
  return all.index_copy_(0, index, rows);
}

// [6] fp64.
at::Tensor ToTensor(const model::Losses& losses, const StepVotes& votes) {
  return at::tensor({losses.sequence, losses.alignment, losses.contrastive, losses.cf, votes.stop,
                     votes.checkpoint},
                    at::kDouble);
}

void FromTensor(const at::Tensor& sums, model::Losses* losses, StepVotes* votes) {
  const double* value = sums.data_ptr<double>();
  for (double* part : {&losses->sequence, &losses->alignment, &losses->contrastive, &losses->cf,
                       &votes->stop, &votes->checkpoint}) {
    *part = *value++;
  }
}

}  // namespace

SharedStep::SharedStep(collective::Group* group, ModelState* state)
    : group_(group), state_(state), gradients_(group, BucketBytes(state->device())) {
  layers_ = state->parameters().RangeOf("damoe.");
}

void SharedStep::Start(const data::PackedBatch& batch, int64_t step) {
  const data::WholeStep& whole = batch.whole;
  const auto ranks = static_cast<size_t>(group_->size());
  CHECK(whole.sequence_reads.size() == ranks && whole.alignment_reads.size() == ranks)
      << "a step shared by " << ranks << " ranks comes from BuildSharedBatch";
  std::vector<int64_t> states(whole.sequence_reads.begin(), whole.sequence_reads.end());
  for (size_t rank = 0; rank < ranks && state_->options().lambda_align > 0; ++rank) {
    states[rank] += whole.alignment_reads[rank];
  }
  state_->projection().Announce(states);
  what_ = StrCat("the gradients of step ", step + 1);
  gradients_.Start(state_->parameters().flat_gradient(), what_);
}

model::MixrecModel::Complete SharedStep::complete() {
  return [this](int64_t first, int64_t last) { gradients_.Ready(first, last); };
}

absl::Status SharedStep::Finish(const data::PackedBatch& batch, const at::Tensor& losses,
                                model::CfRows* d_rows) {
  gradients_.Ready(0, layers_.first);
  gradients_.Ready(layers_.second, state_->parameters().size());
  std::vector<Ticket> tickets;
  if (state_->resident() && state_->updates_rows()) {
    d_rows->user = AmongAll(batch.user_ids, d_rows->user, batch.whole.user_ids);
    d_rows->item = AmongAll(batch.item_ids, d_rows->item, batch.whole.item_ids);
    tickets.push_back(group_->StartAllReduce(d_rows->user, what_));
    tickets.push_back(group_->StartAllReduce(d_rows->item, what_));
  }
  tickets.push_back(group_->StartAllReduce(losses, what_));
  absl::Status status = gradients_.Finish();
  for (const Ticket ticket : tickets) status.Update(group_->Wait(ticket));
  return status;
}

absl::Status SharedStep::Finish(const data::PackedBatch& batch, model::Losses* losses,
                                StepVotes* votes, model::CfRows* d_rows) {
  const at::Tensor sums = ToTensor(*losses, *votes);
  MIXREC_RETURN_IF_ERROR(Finish(batch, sums, d_rows));
  FromTensor(sums, losses, votes);
  return absl::OkStatus();
}

}  // namespace mixrec::worker
