// A table's rows as named tensors and as bytes: for checkpoints, snapshots and backups.
#include "common/log.h"
#include "ps/moments.h"
#include "ps/table.h"

namespace mixrec::ps {

NamedTensors Table::Values() const {
  NamedTensors tensors;
  for (size_t part = 0; part < spec_.parts.size(); ++part) {
    tensors.emplace_back(spec_.parts[part].name, views_[0][part]);
  }
  return tensors;
}

NamedTensors Table::OptimizerState() const {
  NamedTensors tensors;
  const std::vector<std::string> moments = MomentNames(spec_.optimizer.kind);
  for (size_t moment = 0; moment < moments.size(); ++moment) {
    for (size_t part = 0; part < spec_.parts.size(); ++part) {
      tensors.emplace_back(moments[moment] + "." + spec_.parts[part].name,
                           views_[moment + 1][part]);
    }
  }
  tensors.emplace_back("update_count." + spec_.name, counts_);
  return tensors;
}

void Table::CountsChanged() {
  if (spec_.dense) steps_ = counts_.numel() == 0 ? 0 : counts_.max().item<int32_t>();
}

void Table::ReadState(int64_t first, int64_t count, float* state, int32_t* counts) const {
  CHECK(first >= 0 && count >= 0 && first + count <= layout_.local_rows());
  if (count == 0) return;
  at::from_blob(counts, {count}, at::kInt).copy_(counts_.narrow(0, first, count));
  const at::Tensor out = at::from_blob(state, {count, state_width()}, at::kFloat);
  if (!spec_.dense) {
    out.copy_(rows_.narrow(0, first, count));
    return;
  }
  int64_t column = 0;
  for (const auto& slot : views_) {
    for (const at::Tensor& part : slot) {
      out.narrow(1, column, part.size(1)).copy_(part.narrow(0, first, count));
      column += part.size(1);
    }
  }
}

void Table::WriteState(absl::Span<const int64_t> local_rows, const float* state,
                       const int32_t* counts) {
  const auto count = static_cast<int64_t>(local_rows.size());
  if (count == 0) return;
  for (const int64_t row : local_rows) CHECK(row >= 0 && row < layout_.local_rows());
  const at::Tensor index =
      at::tensor(at::ArrayRef<int64_t>(local_rows.data(), local_rows.size()), at::kLong)
          .to(device());
  const at::Tensor rows =
      at::from_blob(const_cast<float*>(state), {count, state_width()}, at::kFloat).to(device());
  counts_.index_copy_(0, index,
                      at::from_blob(const_cast<int32_t*>(counts), {count}, at::kInt).to(device()));
  if (spec_.dense) steps_ = counts[0];  // the same for every row
  if (!spec_.dense) {
    rows_.index_copy_(0, index, rows);
    return;
  }
  int64_t column = 0;
  for (const auto& slot : views_) {
    for (const at::Tensor& part : slot) {
      at::Tensor(part).index_copy_(0, index, rows.narrow(1, column, part.size(1)));
      column += part.size(1);
    }
  }
}

}  // namespace mixrec::ps
