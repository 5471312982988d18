#include "worker/tables.h"

#include "ps/row_optimizer.h"
#include "tensor/device_step.h"

namespace mixrec::worker {
namespace {

ps::TableSpec WithoutValues(ps::TableSpec spec) {
  for (ps::PartSpec& part : spec.parts) part.stddev = 0;
  return spec;
}

}  // namespace

RowTable::RowTable(const ps::TableSpec& spec, at::Device device)
    : spec_(spec),
      device_(device),
      table_(std::make_unique<ps::Table>(WithoutValues(spec), ps::BucketRange(), device)) {}

absl::Status RowTable::Initialise(uint64_t seed) {
  spec_.seed = seed;
  table_.reset();  // never two in memory
  table_ = std::make_unique<ps::Table>(spec_, ps::BucketRange(), device_);
  return absl::OkStatus();
}

absl::StatusOr<at::Tensor> RowTable::Pull(int64_t /*step*/, const std::vector<int32_t>& ids) {
  return table_->PullRows(ids);
}

absl::Status RowTable::Push(int64_t /*step*/, const std::vector<int32_t>& ids,
                            const at::Tensor& gradients, double learning_rate) {
  table_->PushRows(ids, gradients, learning_rate);
  return absl::OkStatus();
}

at::Tensor RowTable::PullOnDevice(const at::Tensor& ids) const {
  return table_->rows().narrow(1, 0, table_->width()).index_select(0, ids.clamp_min(0));
}

void RowTable::PushOnDevice(const at::Tensor& ids, const at::Tensor& gradients,
                            const at::Tensor& schedule, const at::Tensor& total) {
  tensor::RowAdamWStep(ps::AdamWOptionsOf(spec_.optimizer), schedule, total, ids,
                       gradients.contiguous(), table_->rows(), table_->counts());
}

}  // namespace mixrec::worker
