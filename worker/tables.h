// Tables of trainable rows: the collaborative filtering embeddings of users and items. Workers see
// them through one narrow door, ParameterTable, so that the rows can live elsewhere: this file's
// RowTable keeps them in the process, remote_table.h's on a parameter server.
//
// R rows asked for, E row width.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "common/status.h"
#include "model/safetensors.h"
#include "ps/table.h"

namespace mixrec::worker {

// One thread at a time. `step` is the number of updates that the rows contain; row ids of a call
// are distinct and below the number of rows.
class ParameterTable {
 public:
  virtual ~ParameterTable() = default;
  // Initial values, a function of the seed, the part's name and the row alone (model.md D34).
  virtual absl::Status Initialise(uint64_t seed) = 0;
  // Announces a Pull of the same rows, so that they can travel while an earlier step runs.
  virtual void Prefetch(int64_t /*step*/, const std::vector<int32_t>& /*ids*/) {}
  // Rows `ids`: [R, E] fp32 on the model's device, a copy.
  virtual absl::StatusOr<at::Tensor> Pull(int64_t step, const std::vector<int32_t>& ids) = 0;
  // One row-lazy AdamW step (model.md D33) on rows `ids`; gradients [R, E]. May return before it is
  // done; a later Pull sees it.
  virtual absl::Status Push(int64_t step, const std::vector<int32_t>& ids,
                            const at::Tensor& gradients, double learning_rate) = 0;

  // Waits until every Push is done.
  virtual absl::Status Settle() { return absl::OkStatus(); }
  // Seconds spent in waiting for servers so far.
  virtual double waited_seconds() const { return 0; }

  // What lives in this process, by checkpoint name, as views: nothing with servers.
  virtual model::NamedTensors Values() const { return {}; }
  virtual model::NamedTensors OptimizerState() const { return {}; }
};

// The embedded table: a shard that holds all rows, on the model's device, called directly.
class RowTable : public ParameterTable {
 public:
  // Values and optimiser state are zero.
  RowTable(const ps::TableSpec& spec, at::Device device);

  absl::Status Initialise(uint64_t seed) override;
  absl::StatusOr<at::Tensor> Pull(int64_t step, const std::vector<int32_t>& ids) override;
  absl::Status Push(int64_t step, const std::vector<int32_t>& ids, const at::Tensor& gradients,
                    double learning_rate) override;
  // Pull and Push with everything on the device (resident_step.h). ids [R] int64; -1 stands for no
  // row: pulls anything, pushes nothing.
  at::Tensor PullOnDevice(const at::Tensor& ids) const;
  void PushOnDevice(const at::Tensor& ids, const at::Tensor& gradients, const at::Tensor& schedule,
                    const at::Tensor& total);
  // A part's values as [rows, width of the part] fp32 views, until Initialise.
  model::NamedTensors Values() const override { return table_->Values(); }
  // first_moment.PART, second_moment.PART and update_count.TABLE [rows] int32, as views.
  model::NamedTensors OptimizerState() const override { return table_->OptimizerState(); }

 private:
  ps::TableSpec spec_;
  at::Device device_;
  std::unique_ptr<ps::Table> table_;
};

}  // namespace mixrec::worker
