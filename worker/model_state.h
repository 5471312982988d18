// A model with everything it has learnt: dense parameters, item projection, CF tables, and the
// network over a frozen backbone. Training, evaluation and recommendation work on it.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/packed_batch.h"
#include "model/backbone.h"
#include "model/mixrec_model.h"
#include "model/options.h"
#include "model/parameters.h"
#include "model/safetensors.h"
#include "tensor/optimizer.h"
#include "worker/embedded_projection.h"
#include "worker/item_projection.h"
#include "worker/placement.h"
#include "worker/table_specs.h"
#include "worker/tables.h"

namespace mixrec::worker {

// On the backbone's device, computing in the backbone's dtype. One thread.
class ModelState {
 public:
  // Allocates; values are zero. Keeps a reference to the backbone, and the placement's session.
  // Options are validated.
  ModelState(const model::Backbone& backbone, const model::ModelOptions& options, int64_t users,
             int64_t items, const tensor::AdamWOptions& optimizer = {},
             const Placement& placement = {});
  ModelState(const ModelState&) = delete;
  ModelState& operator=(const ModelState&) = delete;

  // Initial values of every tensor and row, a function of the seed alone (model.md D34). Makes the
  // tables where they are on servers.
  absl::Status Initialise(uint64_t seed);
  // The tables' part of it.
  absl::Status CreateTables(uint64_t seed);

  // Optimiser steps done: the updates that rows read from the tables contain.
  int64_t step() const { return step_; }
  void set_step(int64_t step) { step_ = step; }

  // Rows of the CF tables that a batch names, or their update in the step under way; undefined
  // without a CF model. What is prefetched is pulled for the step after it.
  absl::StatusOr<model::CfRows> PullRows(const data::PackedBatch& batch);
  void PrefetchRows(const data::PackedBatch& next);
  absl::Status PushRows(const std::vector<int32_t>& user_ids, const std::vector<int32_t>& item_ids,
                        const model::CfRows& gradients, double learning_rate);
  bool updates_rows() const { return user_table_ != nullptr && !options_.cf_frozen; }
  // Whether all tables are in this process. The functions that follow, for a step whose inputs are
  // on the device (resident_step.h), need it.
  bool resident() const { return placement_.session == nullptr; }
  EmbeddedItemProjection& embedded_projection();
  model::CfRows PullResidentRows(const model::Stream& stream) const;
  void PushResidentRows(const model::Stream& stream, const model::CfRows& gradients,
                        const at::Tensor& schedule, const at::Tensor& total);
  // The same of any rows, [.] int64.
  void PushResidentRows(const at::Tensor& user_ids, const at::Tensor& item_ids,
                        const model::CfRows& gradients, const at::Tensor& schedule,
                        const at::Tensor& total);
  // Waits until the tables have every update that was sent, and this process has what it keeps of
  // them; with a group, all ranks call it.
  absl::Status Settle();
  // Seconds spent in waiting for servers so far.
  double server_seconds() const;

  // Every trainable tensor of this process by its checkpoint name, as fp32 views: all of them, but
  // for the tables when those are on servers. Valid until Initialise.
  model::NamedTensors Trainable() const;
  // One of them.
  at::Tensor Tensor(const std::string& name) const;
  // To be called when Trainable() were changed from outside.
  void Refresh();
  // The optimiser state of the tables in this process.
  model::NamedTensors TableOptimizerState() const;

  const model::Backbone& backbone() const { return backbone_; }
  const model::ModelOptions& options() const { return options_; }
  at::Device device() const { return backbone_.word_embedding.device(); }
  int64_t users() const { return users_; }
  int64_t items() const { return items_; }
  const Placement& placement() const { return placement_; }
  // What the tables are, wherever they live.
  const std::vector<ps::TableSpec>& table_specs() const { return table_specs_; }
  // Dense parameters but the item projection: what ranks of a worker group reduce.
  model::DenseParameters& parameters() { return parameters_; }
  ItemProjection& projection() { return *projection_; }
  model::MixrecModel& network() { return network_; }
  model::CfModel& cf() { return cf_; }

 private:
  ModelState(const model::Backbone& backbone, const model::ModelOptions& options,
             const TableShapes& shapes, const tensor::AdamWOptions& optimizer,
             const Placement& placement, SplitSpecs specs);
  std::vector<const ParameterTable*> Tables() const;

  const model::Backbone& backbone_;
  const model::ModelOptions options_;
  const Placement placement_;
  int64_t users_, items_;
  std::vector<ps::TableSpec> table_specs_;
  int64_t step_ = 0;
  model::DenseParameters parameters_;
  std::unique_ptr<ItemProjection> projection_;
  model::MixrecModel network_;
  model::CfModel cf_;
  std::unique_ptr<ParameterTable> user_table_, item_table_;  // null without a CF model
};

}  // namespace mixrec::worker
