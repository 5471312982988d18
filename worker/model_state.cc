#include "worker/model_state.h"

#include "common/log.h"
#include "tensor/softmax.h"

namespace mixrec::worker {
namespace {

constexpr double kTableStddev = 0.02;

}  // namespace

ModelState::ModelState(const model::Backbone& backbone, const model::ModelOptions& options,
                       int64_t users, int64_t items, const tensor::AdamWOptions& optimizer)
    : backbone_(backbone),
      options_(options),
      users_(users),
      items_(items),
      parameters_(model::TrainableSpecs(backbone.config, options, items), device(),
                  backbone.word_embedding.scalar_type()),
      network_(backbone, options, &parameters_),
      cf_(options, &parameters_) {
  if (!options.has_cf()) return;
  user_table_ = std::make_unique<RowTable>("cf.user", CfTableParts(options, "user"), users,
                                           device(), optimizer);
  item_table_ = std::make_unique<RowTable>("cf.item", CfTableParts(options, "item"), items,
                                           device(), optimizer);
}

void ModelState::Initialise(uint64_t seed) {
  parameters_.Initialise(seed);
  network_.InitialiseSpecialTokens();
  if (user_table_ == nullptr) return;
  user_table_->Initialise(seed, kTableStddev);
  item_table_->Initialise(seed, kTableStddev);
}

model::CfRows ModelState::PullRows(const data::PackedBatch& batch) const {
  if (user_table_ == nullptr) return {};
  return {user_table_->Pull(batch.user_ids), item_table_->Pull(batch.item_ids)};
}

void ModelState::PushRows(const data::PackedBatch& batch, const model::CfRows& gradients,
                          double learning_rate) {
  if (user_table_ == nullptr) return;
  user_table_->Push(batch.user_ids, gradients.user, learning_rate);
  item_table_->Push(batch.item_ids, gradients.item, learning_rate);
}

model::NamedTensors ModelState::Trainable() const {
  model::NamedTensors tensors;
  for (const model::ParameterSpec& spec : parameters_.specs()) {
    tensors.emplace_back(spec.name, parameters_.value(spec.name));
  }
  for (const RowTable* table : {user_table_.get(), item_table_.get()}) {
    if (table == nullptr) continue;
    const model::NamedTensors parts = table->Values();
    tensors.insert(tensors.end(), parts.begin(), parts.end());
  }
  return tensors;
}

model::NamedTensors ModelState::TableOptimizerState() const {
  model::NamedTensors tensors;
  for (const RowTable* table : {user_table_.get(), item_table_.get()}) {
    if (table == nullptr) continue;
    const model::NamedTensors parts = table->OptimizerState();
    tensors.insert(tensors.end(), parts.begin(), parts.end());
  }
  return tensors;
}

at::Tensor ModelState::ItemScores(const at::Tensor& states) const {
  return tensor::ItemScores(states, parameters_.compute("item_proj.weight"),
                            parameters_.value("item_proj.bias"));
}

}  // namespace mixrec::worker
