#include "worker/model_state.h"

#include <utility>

#include "common/log.h"
#include "worker/embedded_projection.h"
#include "worker/remote_projection.h"
#include "worker/remote_table.h"

namespace mixrec::worker {
namespace {

std::unique_ptr<ParameterTable> MakeTable(const ps::TableSpec& spec, at::Device device,
                                          const Placement& placement) {
  if (placement.session == nullptr) return std::make_unique<RowTable>(spec, device);
  return std::make_unique<RemoteTable>(spec, device, placement.session);
}

}  // namespace

ModelState::ModelState(const model::Backbone& backbone, const model::ModelOptions& options,
                       int64_t users, int64_t items, const tensor::AdamWOptions& optimizer,
                       const Placement& placement)
    : ModelState(backbone, options, {users, items, backbone.config.hidden}, optimizer, placement,
                 SplitTrainable(model::TrainableSpecs(backbone.config, options, items))) {}

ModelState::ModelState(const model::Backbone& backbone, const model::ModelOptions& options,
                       const TableShapes& shapes, const tensor::AdamWOptions& optimizer,
                       const Placement& placement, SplitSpecs specs)
    : backbone_(backbone),
      options_(options),
      placement_(placement),
      users_(shapes.users),
      items_(shapes.items),
      table_specs_(TableSpecs(options, shapes, optimizer, placement.sampling.count > 0)),
      parameters_(std::move(specs.dense), device(), backbone.word_embedding.scalar_type()),
      network_(backbone, options, &parameters_),
      cf_(options, &parameters_) {
  if (placement.session == nullptr) {
    projection_ = std::make_unique<EmbeddedItemProjection>(
        std::move(specs.projection), device(), backbone.word_embedding.scalar_type(), optimizer);
  } else {
    projection_ = std::make_unique<RemoteItemProjection>(table_specs_[0], placement);
  }
  if (!options.has_cf()) return;
  user_table_ = MakeTable(table_specs_[1], device(), placement);
  item_table_ = MakeTable(table_specs_[2], device(), placement);
}

absl::Status ModelState::Initialise(uint64_t seed) {
  parameters_.Initialise(seed);
  network_.InitialiseSpecialTokens();
  return CreateTables(seed);
}

absl::Status ModelState::CreateTables(uint64_t seed) {
  for (ps::TableSpec& spec : table_specs_) spec.seed = seed;
  MIXREC_RETURN_IF_ERROR(projection_->Initialise(seed));
  if (user_table_ == nullptr) return absl::OkStatus();
  MIXREC_RETURN_IF_ERROR(user_table_->Initialise(seed));
  return item_table_->Initialise(seed);
}

absl::StatusOr<model::CfRows> ModelState::PullRows(const data::PackedBatch& batch) {
  model::CfRows rows;
  if (user_table_ == nullptr) return rows;
  // Both are on their way before the first is waited for.
  user_table_->Prefetch(step_, batch.user_ids);
  item_table_->Prefetch(step_, batch.item_ids);
  MIXREC_ASSIGN_OR_RETURN(rows.user, user_table_->Pull(step_, batch.user_ids));
  MIXREC_ASSIGN_OR_RETURN(rows.item, item_table_->Pull(step_, batch.item_ids));
  return rows;
}

void ModelState::PrefetchRows(const data::PackedBatch& next) {
  if (user_table_ == nullptr) return;
  user_table_->Prefetch(step_ + 1, next.user_ids);
  item_table_->Prefetch(step_ + 1, next.item_ids);
}

absl::Status ModelState::PushRows(const std::vector<int32_t>& user_ids,
                                  const std::vector<int32_t>& item_ids,
                                  const model::CfRows& gradients, double learning_rate) {
  if (!updates_rows()) return absl::OkStatus();
  MIXREC_RETURN_IF_ERROR(user_table_->Push(step_, user_ids, gradients.user, learning_rate));
  return item_table_->Push(step_, item_ids, gradients.item, learning_rate);
}

EmbeddedItemProjection& ModelState::embedded_projection() {
  CHECK(resident());
  return static_cast<EmbeddedItemProjection&>(*projection_);
}

model::CfRows ModelState::PullResidentRows(const model::Stream& stream) const {
  CHECK(resident());
  if (user_table_ == nullptr) return {};
  return {static_cast<const RowTable&>(*user_table_).PullOnDevice(stream.user_ids),
          static_cast<const RowTable&>(*item_table_).PullOnDevice(stream.item_ids)};
}

void ModelState::PushResidentRows(const model::Stream& stream, const model::CfRows& gradients,
                                  const at::Tensor& schedule, const at::Tensor& total) {
  PushResidentRows(stream.user_ids, stream.item_ids, gradients, schedule, total);
}

void ModelState::PushResidentRows(const at::Tensor& user_ids, const at::Tensor& item_ids,
                                  const model::CfRows& gradients, const at::Tensor& schedule,
                                  const at::Tensor& total) {
  CHECK(resident());
  if (!updates_rows()) return;
  static_cast<RowTable&>(*user_table_).PushOnDevice(user_ids, gradients.user, schedule, total);
  static_cast<RowTable&>(*item_table_).PushOnDevice(item_ids, gradients.item, schedule, total);
}

absl::Status ModelState::Settle() {
  MIXREC_RETURN_IF_ERROR(projection_->Settle());
  if (user_table_ == nullptr) return absl::OkStatus();
  MIXREC_RETURN_IF_ERROR(user_table_->Settle());
  return item_table_->Settle();
}

double ModelState::server_seconds() const {
  double seconds = projection_->waited_seconds();
  for (const ParameterTable* table : Tables()) seconds += table->waited_seconds();
  return seconds;
}

std::vector<const ParameterTable*> ModelState::Tables() const {
  if (user_table_ == nullptr) return {};
  return {user_table_.get(), item_table_.get()};
}

model::NamedTensors ModelState::Trainable() const {
  model::NamedTensors tensors;
  for (const model::ParameterSpec& spec : parameters_.specs()) {
    tensors.emplace_back(spec.name, parameters_.value(spec.name));
  }
  const auto append = [&](const model::NamedTensors& more) {
    tensors.insert(tensors.end(), more.begin(), more.end());
  };
  append(projection_->Values());
  for (const ParameterTable* table : Tables()) append(table->Values());
  return tensors;
}

at::Tensor ModelState::Tensor(const std::string& name) const {
  for (const auto& [known, tensor] : Trainable()) {
    if (known == name) return tensor;
  }
  LOG(FATAL) << "no tensor " << name << " in this process";
}

void ModelState::Refresh() {
  parameters_.RefreshCompute();
  projection_->Refresh();
}

model::NamedTensors ModelState::TableOptimizerState() const {
  model::NamedTensors tensors = projection_->OptimizerState();
  for (const ParameterTable* table : Tables()) {
    const model::NamedTensors parts = table->OptimizerState();
    tensors.insert(tensors.end(), parts.begin(), parts.end());
  }
  return tensors;
}

}  // namespace mixrec::worker
