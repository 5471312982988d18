#include "worker/tables.h"

#include <numeric>

#include "common/log.h"
#include "model/parameters.h"
#include "tensor/from_host.h"

namespace mixrec::worker {
namespace {

at::Tensor RowIndex(const std::vector<int32_t>& ids, int64_t rows, at::Device device) {
  for (const int32_t id : ids) CHECK(id >= 0 && id < rows) << "row " << id << " of " << rows;
  return tensor::IndexTensor(ids, device);
}

int64_t TotalWidth(const std::vector<TablePart>& parts) {
  return std::accumulate(parts.begin(), parts.end(), int64_t{0},
                         [](int64_t sum, const TablePart& part) { return sum + part.width; });
}

}  // namespace

RowTable::RowTable(std::string name, std::vector<TablePart> parts, int64_t rows, at::Device device,
                   const tensor::AdamWOptions& optimizer)
    : name_(std::move(name)), parts_(std::move(parts)), optimizer_(optimizer) {
  const auto options = at::TensorOptions().device(device).dtype(at::kFloat);
  const int64_t width = TotalWidth(parts_);
  values_ = at::zeros({rows, width}, options);
  first_moment_ = at::zeros({rows, width}, options);
  second_moment_ = at::zeros({rows, width}, options);
  counts_ = at::zeros({rows}, options.dtype(at::kInt));
}

void RowTable::Initialise(uint64_t seed, double stddev) {
  std::vector<int64_t> ids(static_cast<size_t>(rows()));
  std::iota(ids.begin(), ids.end(), int64_t{0});
  int64_t column = 0;
  for (const TablePart& part : parts_) {
    at::Tensor initial = at::empty({rows(), part.width}, at::kFloat);
    model::FillInitialRows(seed, part.name, ids, stddev, initial);
    values_.narrow(1, column, part.width).copy_(initial);
    column += part.width;
  }
}

at::Tensor RowTable::Pull(const std::vector<int32_t>& ids) const {
  return values_.index_select(0, RowIndex(ids, rows(), values_.device()));
}

void RowTable::Push(const std::vector<int32_t>& ids, const at::Tensor& gradients,
                    double learning_rate) {
  tensor::RowAdamWStep(optimizer_, learning_rate, RowIndex(ids, rows(), values_.device()),
                       gradients.contiguous(), values_, first_moment_, second_moment_, counts_);
}

void RowTable::AppendParts(const std::string& prefix, const at::Tensor& whole,
                           model::NamedTensors* tensors) const {
  int64_t column = 0;
  for (const TablePart& part : parts_) {
    tensors->emplace_back(prefix + part.name, whole.narrow(1, column, part.width));
    column += part.width;
  }
}

model::NamedTensors RowTable::Values() const {
  model::NamedTensors tensors;
  AppendParts("", values_, &tensors);
  return tensors;
}

model::NamedTensors RowTable::OptimizerState() const {
  model::NamedTensors tensors;
  AppendParts("first_moment.", first_moment_, &tensors);
  AppendParts("second_moment.", second_moment_, &tensors);
  tensors.emplace_back("update_count." + name_, counts_);
  return tensors;
}

std::vector<TablePart> CfTableParts(const model::ModelOptions& options, const std::string& side) {
  const std::string name = "cf." + side;
  if (options.cf == model::CfKind::kMf) return {{name + ".weight", options.mf_width}};
  return {{name + "_gmf.weight", options.cf_gmf}, {name + "_mlp.weight", options.cf_mlp}};
}

}  // namespace mixrec::worker
