// A model with everything it has learnt: dense parameters, CF tables, and the network over a
// frozen backbone. Training, evaluation and recommendation work on it.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "data/packed_batch.h"
#include "model/backbone.h"
#include "model/mixrec_model.h"
#include "model/options.h"
#include "model/parameters.h"
#include "model/safetensors.h"
#include "tensor/optimizer.h"
#include "worker/tables.h"

namespace mixrec::worker {

// On the backbone's device, computing in the backbone's dtype. One thread.
class ModelState {
 public:
  // Allocates; values are zero. Keeps a reference to the backbone. Options are validated.
  ModelState(const model::Backbone& backbone, const model::ModelOptions& options, int64_t users,
             int64_t items, const tensor::AdamWOptions& optimizer = {});
  ModelState(const ModelState&) = delete;
  ModelState& operator=(const ModelState&) = delete;

  // Initial values of every tensor and row, a function of the seed alone (model.md D34).
  void Initialise(uint64_t seed);

  // Rows of the CF tables that a batch names, or their update; undefined without a CF model.
  model::CfRows PullRows(const data::PackedBatch& batch) const;
  void PushRows(const data::PackedBatch& batch, const model::CfRows& gradients,
                double learning_rate);

  // Every trainable tensor by its checkpoint name, as fp32 views.
  model::NamedTensors Trainable() const;
  // The optimiser state of the tables; empty without a CF model.
  model::NamedTensors TableOptimizerState() const;

  // Scores of all items for states [N, D]: [N, items] fp32.
  at::Tensor ItemScores(const at::Tensor& states) const;

  const model::Backbone& backbone() const { return backbone_; }
  const model::ModelOptions& options() const { return options_; }
  at::Device device() const { return backbone_.word_embedding.device(); }
  int64_t users() const { return users_; }
  int64_t items() const { return items_; }
  model::DenseParameters& parameters() { return parameters_; }
  model::MixrecModel& network() { return network_; }
  model::CfModel& cf() { return cf_; }

 private:
  const model::Backbone& backbone_;
  const model::ModelOptions options_;
  int64_t users_, items_;
  model::DenseParameters parameters_;
  model::MixrecModel network_;
  model::CfModel cf_;
  std::unique_ptr<RowTable> user_table_, item_table_;
};

}  // namespace mixrec::worker
