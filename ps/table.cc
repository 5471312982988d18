#include "ps/table.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>

#include "common/log.h"
#include "ps/moments.h"
#include "ps/row_optimizer.h"
#include "tensor/initial_rows.h"

namespace mixrec::ps {
namespace {

constexpr int64_t kInitialBlock = 65536;      // rows whose initial values are made at once
constexpr int64_t kParallelFloats = 1 << 18;  // below it a second thread costs more than it gives
constexpr size_t kAhead = 8;                  // rows fetched ahead of their use

int64_t GrainRows(int64_t width) { return std::max<int64_t>(1, kParallelFloats / width); }

at::Tensor RowIndex(const std::vector<int64_t>& rows, at::Device device) {
  return at::tensor(at::ArrayRef<int64_t>(rows), at::kLong).to(device);
}

at::Tensor OverHost(const float* data, at::IntArrayRef sizes) {
  return at::from_blob(const_cast<float*>(data), sizes, at::kFloat);
}

}  // namespace

Table::Table(const TableSpec& spec, BucketRange buckets, at::Device device)
    : spec_(spec),
      layout_(spec.partition, spec.rows, buckets),
      buckets_(buckets),
      width_(spec.width()) {
  CHECK(!spec.parts.empty() && width_ > 0) << "table " << spec.name << " has no columns";
  Allocate(device);
  Initialise();
}

void Table::Allocate(at::Device device) {
  const auto options = at::TensorOptions().device(device).dtype(at::kFloat);
  const int64_t rows = layout_.local_rows();
  const size_t slots = 1 + MomentNames(spec_.optimizer.kind).size();
  counts_ = at::zeros({rows}, options.dtype(at::kInt));
  if (!spec_.dense) rows_ = at::zeros({rows, static_cast<int64_t>(slots) * width_}, options);
  int64_t column = 0;
  for (size_t slot = 0; slot < slots; ++slot) {
    std::vector<at::Tensor>& views = views_.emplace_back();
    for (const PartSpec& part : spec_.parts) {
      views.push_back(spec_.dense ? at::zeros({rows, part.width}, options)
                                  : rows_.narrow(1, column, part.width));
      column += part.width;
    }
  }
}

void Table::Initialise() {
  for (size_t part = 0; part < spec_.parts.size(); ++part) {
    const PartSpec& of = spec_.parts[part];
    if (of.stddev == 0) continue;
    for (int64_t first = 0; first < layout_.local_rows(); first += kInitialBlock) {
      const int64_t count = std::min(kInitialBlock, layout_.local_rows() - first);
      std::vector<int64_t> ids(static_cast<size_t>(count));
      for (int64_t i = 0; i < count; ++i) ids[static_cast<size_t>(i)] = layout_.RowOf(first + i);
      const at::Tensor rows = views_[0][part].narrow(0, first, count);
      const at::Tensor values = rows.is_cpu() ? rows : at::empty({count, of.width}, at::kFloat);
      tensor::FillInitialRows(spec_.seed, of.name, ids, of.stddev, values);
      if (!rows.is_cpu()) rows.copy_(values);
    }
  }
}

int64_t Table::bytes() const {
  return layout_.local_rows() * (state_width() * static_cast<int64_t>(sizeof(float)) +
                                 static_cast<int64_t>(sizeof(int32_t)));
}

bool Table::Owns(absl::Span<const int32_t> ids) const {
  return std::all_of(ids.begin(), ids.end(), [&](int32_t id) {
    return id >= 0 && id < spec_.rows && layout_.LocalOf(id) >= 0;
  });
}

std::vector<int64_t> Table::LocalRows(absl::Span<const int32_t> ids) const {
  std::vector<int64_t> rows(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    rows[i] = ids[i] >= 0 && ids[i] < spec_.rows ? layout_.LocalOf(ids[i]) : -1;
    CHECK_GE(rows[i], 0) << "row " << ids[i] << " of table " << spec_.name << " is not here";
  }
  return rows;
}

void Table::Pull(absl::Span<const int32_t> ids, float* out) const {
  const std::vector<int64_t> rows = LocalRows(ids);
  const auto count = static_cast<int64_t>(rows.size());
  if (counts_.is_cuda() || spec_.dense) {
    if (count > 0) OverHost(out, {count, width_}).copy_(PullRows(ids));
    return;
  }
  const float* values = rows_.data_ptr<float>();
  const int64_t stride = rows_.stride(0);
  const auto bytes = static_cast<size_t>(width_) * sizeof(float);
  at::parallel_for(0, count, GrainRows(width_), [&](int64_t first, int64_t last) {
    for (auto i = static_cast<size_t>(first); i < static_cast<size_t>(last);) {
      // Neighbours that lie next to each other go in one copy.
      size_t end = i + 1;
      if (stride == width_) {
        while (end < static_cast<size_t>(last) && rows[end] == rows[end - 1] + 1) ++end;
      }
      if (i + kAhead < rows.size()) __builtin_prefetch(values + rows[i + kAhead] * stride);
      std::memcpy(out + static_cast<int64_t>(i) * width_, values + rows[i] * stride,
                  (end - i) * bytes);
      i = end;
    }
  });
}

void Table::Push(absl::Span<const int32_t> ids, const float* gradients, double learning_rate) {
  CHECK(!spec_.dense) << "table " << spec_.name << " is stepped as a whole";
  const std::vector<int64_t> rows = LocalRows(ids);
  if (rows.empty()) return;
  if (!counts_.is_cuda()) return PushOnHost(rows, gradients, learning_rate);
  PushOnDevice(RowIndex(rows, device()),
               OverHost(gradients, {static_cast<int64_t>(rows.size()), width_}).to(device()),
               learning_rate);
}

void Table::PushOnHost(const std::vector<int64_t>& rows, const float* gradients,
                       double learning_rate) {
  float* values = rows_.data_ptr<float>();
  const int64_t stride = rows_.stride(0);
  auto* counts = counts_.data_ptr<int32_t>();
  const auto size = static_cast<int64_t>(rows.size());
  at::parallel_for(0, size, GrainRows(stride), [&](int64_t first, int64_t last) {
    RowStepper stepper(spec_.optimizer, learning_rate);
    for (int64_t i = first; i < last; ++i) {
      if (i + static_cast<int64_t>(kAhead) < size) {
        __builtin_prefetch(values + rows[static_cast<size_t>(i) + kAhead] * stride, 1);
      }
      const int64_t row = rows[static_cast<size_t>(i)];
      stepper.Step(width_, gradients + i * width_, values + row * stride, counts + row);
    }
  });
}

void Table::PushOnDevice(const at::Tensor& rows, const at::Tensor& gradients,
                         double learning_rate) {
  const OptimizerOptions& options = spec_.optimizer;
  const auto slot = [&](int64_t i) { return rows_.narrow(1, i * width_, width_); };
  if (options.kind == Optimizer::kAdamW) {
    tensor::RowAdamWStep(AdamWOptionsOf(options), learning_rate, rows, gradients, slot(0), slot(1),
                         slot(2), counts_);
    return;
  }
  counts_.index_add_(0, rows, at::ones({rows.numel()}, counts_.options()));
  if (options.kind == Optimizer::kSgd) {
    const at::Tensor values = rows_.index_select(0, rows);
    rows_.index_copy_(
        0, rows,
        values.mul(1.0 - learning_rate * options.weight_decay).sub_(gradients, learning_rate));
    return;
  }
  const at::Tensor state = rows_.index_select(0, rows);
  const at::Tensor sum = state.narrow(1, width_, width_).addcmul_(gradients, gradients);
  state.narrow(1, 0, width_).addcdiv_(gradients, sum.sqrt().add_(options.epsilon), -learning_rate);
  rows_.index_copy_(0, rows, state);
}

at::Tensor Table::PullRows(absl::Span<const int32_t> ids) const {
  if (!counts_.is_cuda() && !spec_.dense) {
    at::Tensor out = at::empty({static_cast<int64_t>(ids.size()), width_}, at::kFloat);
    Pull(ids, out.data_ptr<float>());
    return out;
  }
  const at::Tensor index = RowIndex(LocalRows(ids), device());
  std::vector<at::Tensor> parts;
  for (const at::Tensor& values : views_[0]) parts.push_back(values.index_select(0, index));
  return parts.size() == 1 ? parts[0] : at::cat(parts, 1);
}

void Table::PushRows(absl::Span<const int32_t> ids, const at::Tensor& gradients,
                     double learning_rate) {
  CHECK_EQ(gradients.numel(), static_cast<int64_t>(ids.size()) * width_);
  const at::Tensor rows = gradients.contiguous();
  if (!counts_.is_cuda()) return Push(ids, rows.data_ptr<float>(), learning_rate);
  CHECK(!spec_.dense) << "table " << spec_.name << " is stepped as a whole";
  if (ids.empty()) return;
  PushOnDevice(RowIndex(LocalRows(ids), device()), rows, learning_rate);
}

void Table::StepAll(const std::vector<at::Tensor>& gradients, double learning_rate) {
  CHECK(spec_.dense) << "table " << spec_.name << " is stepped row by row";
  CHECK_EQ(gradients.size(), spec_.parts.size());
  counts_.fill_(++steps_);
  for (size_t part = 0; part < gradients.size(); ++part) {
    CHECK(gradients[part].sizes() == views_[0][part].sizes() && gradients[part].is_contiguous());
    if (gradients[part].numel() > 0) StepPart(part, gradients[part], learning_rate);
  }
}

void Table::StepPart(size_t part, const at::Tensor& gradient, double learning_rate) {
  const OptimizerOptions& options = spec_.optimizer;
  const at::Tensor& value = views_[0][part];
  if (options.kind == Optimizer::kAdamW) {
    tensor::AdamWStep(AdamWOptionsOf(options), learning_rate, steps_, gradient, value,
                      views_[1][part], views_[2][part]);
  } else if (value.is_cuda() && options.kind == Optimizer::kSgd) {
    value.mul_(1.0 - learning_rate * options.weight_decay).sub_(gradient, learning_rate);
  } else if (value.is_cuda()) {
    views_[1][part].addcmul_(gradient, gradient);
    value.addcdiv_(gradient, views_[1][part].sqrt().add_(options.epsilon), -learning_rate);
  } else {
    const float* g = gradient.data_ptr<float>();
    float* w = value.data_ptr<float>();
    float* sum = views_.size() > 1 ? views_[1][part].data_ptr<float>() : nullptr;
    at::parallel_for(0, value.numel(), kParallelFloats, [&](int64_t first, int64_t last) {
      RowStepper stepper(options, learning_rate);
      float* moment = sum == nullptr ? nullptr : sum + first;
      stepper.Step(last - first, steps_, g + first, w + first, moment, nullptr);
    });
  }
}

}  // namespace mixrec::ps
