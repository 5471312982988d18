// A shard's rows of one table with their optimiser state (ps.md). The same object serves a
// parameter server and, embedded (all buckets, so that local rows are the table's rows), a worker.
//
// R rows asked for, E row width.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "ps/protocol.h"
#include "ps/shard_map.h"

namespace mixrec::ps {

// As the checkpoints' (model/safetensors.h).
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// One thread at a time.
class Table {
 public:
  // Allocates and initialises the local rows: a function of (seed, part, row), the same for any
  // number of shards.
  Table(const TableSpec& spec, BucketRange buckets, at::Device device);

  const TableSpec& spec() const { return spec_; }
  const RowLayout& layout() const { return layout_; }
  BucketRange buckets() const { return buckets_; }
  at::Device device() const { return counts_.device(); }
  int64_t width() const { return width_; }
  int64_t bytes() const;

  // Whether every id is in the table and in this shard.
  bool Owns(absl::Span<const int32_t> ids) const;

  // Copies rows `ids` (owned) to `out` [R, E] in host memory.
  void Pull(absl::Span<const int32_t> ids, float* out) const;
  // One step of the optimiser on rows `ids`, which must be owned and distinct; `gradients` [R, E]
  // in host memory. Of a sparse table.
  void Push(absl::Span<const int32_t> ids, const float* gradients, double learning_rate);

  // The same with rows [R, E] fp32 on the table's device.
  at::Tensor PullRows(absl::Span<const int32_t> ids) const;
  void PushRows(absl::Span<const int32_t> ids, const at::Tensor& gradients, double learning_rate);

  // One step of the optimiser on all local rows of a dense table; gradients [local rows, width of
  // the part] fp32 on the device, one a part, contiguous.
  void StepAll(const std::vector<at::Tensor>& gradients, double learning_rate);

  // A part's values [local rows, width of the part] fp32 on the device, as a view: contiguous for a
  // dense table, strided for a sparse one.
  const at::Tensor& PartValues(size_t part) const { return views_[0][part]; }

  // Of a sparse table: [local rows, state_width] fp32, and the rows' update counts [local rows]
  // int32, for optimisers that step them from outside.
  const at::Tensor& rows() const { return rows_; }
  const at::Tensor& counts() const { return counts_; }

  // Local rows by the names that checkpoints use, as views: PART [local rows, width of the part]
  // fp32.
  NamedTensors Values() const;
  // MOMENT.PART for each moment of the optimiser (first_moment.PART, ...), then update_count.TABLE
  // [local rows] int32. Of a dense table all counts are its number of steps.
  NamedTensors OptimizerState() const;
  // After the views were written from outside. Of a dense table takes the number of steps from
  // them.
  void CountsChanged();

  // Floats of a row's state: values, then moments, each [E].
  int64_t state_width() const { return static_cast<int64_t>(views_.size()) * width_; }
  // Copies the state of local rows [first, first + count) to host memory: `state` [count,
  // state_width], `counts` [count].
  void ReadState(int64_t first, int64_t count, float* state, int32_t* counts) const;
  // The way back, for any local rows.
  void WriteState(absl::Span<const int64_t> local_rows, const float* state, const int32_t* counts);

 private:
  void Allocate(at::Device device);
  void Initialise();
  std::vector<int64_t> LocalRows(absl::Span<const int32_t> ids) const;
  void PushOnHost(const std::vector<int64_t>& rows, const float* gradients, double learning_rate);
  void PushOnDevice(const at::Tensor& rows, const at::Tensor& gradients, double learning_rate);
  void StepPart(size_t part, const at::Tensor& gradient, double learning_rate);

  TableSpec spec_;
  RowLayout layout_;
  BucketRange buckets_;
  int64_t width_ = 0;
  // Sparse tables: [local rows, state_width], so that a step touches one stretch of memory a row.
  // Dense ones have a contiguous tensor for each slot and part instead: the softmax's products want
  // their weight without moments in between, and the optimiser walks over everything anyhow.
  at::Tensor rows_;
  std::vector<std::vector<at::Tensor>> views_;  // by slot (value, moments...) and part
  at::Tensor counts_;                           // [local rows] int32
  int64_t steps_ = 0;                           // of a dense table
};

}  // namespace mixrec::ps
