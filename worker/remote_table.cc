#include "worker/remote_table.h"

#include "tensor/from_host.h"

namespace mixrec::worker {

RemoteTable::RemoteTable(const ps::TableSpec& spec, at::Device device, ps::Session* session)
    : spec_(spec), device_(device), session_(session) {}

absl::Status RemoteTable::Initialise(uint64_t seed) {
  spec_.seed = seed;
  return session_->CreateTable(spec_);
}

void RemoteTable::Prefetch(int64_t step, const std::vector<int32_t>& ids) {
  if (pull_ && pull_->step == step && pull_->ids == ids) return;
  if (pull_) session_->FinishPull(pull_->ticket).IgnoreError();  // of rows nobody wants any more
  pull_ = Pending{session_->StartPull(spec_.name, step, ids), step, ids};
}

absl::StatusOr<at::Tensor> RemoteTable::Pull(int64_t step, const std::vector<int32_t>& ids) {
  Prefetch(step, ids);
  const absl::StatusOr<at::Tensor> rows =
      waits_.Time([&] { return session_->FinishPull(pull_->ticket); });
  pull_.reset();
  if (!rows.ok()) return rows.status();
  return tensor::ToDevice(*rows, device_);
}

absl::Status RemoteTable::Push(int64_t step, const std::vector<int32_t>& ids,
                               const at::Tensor& gradients, double learning_rate) {
  MIXREC_RETURN_IF_ERROR(Settle());
  push_ = session_->StartPush(spec_.name, step, learning_rate, ids, gradients.cpu().contiguous());
  return absl::OkStatus();
}

absl::Status RemoteTable::Settle() {
  if (!push_) return absl::OkStatus();
  const ps::Session::Ticket ticket = *push_;
  push_.reset();
  return waits_.Time([&] { return session_->Finish(ticket); });
}

}  // namespace mixrec::worker
