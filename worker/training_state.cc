#include "worker/training_state.h"

#include <filesystem>
#include <set>
#include <utility>

#include "common/file.h"
#include "worker/checkpoint.h"
#include "worker/table_files.h"

namespace mixrec::worker {
namespace {

using Json = nlohmann::ordered_json;

Json LossesJson(const model::Losses& losses) {
  return {losses.sequence, losses.alignment, losses.contrastive, losses.cf, losses.total};
}

model::Losses LossesOf(const Json& json) {
  return {json.at(0), json.at(1), json.at(2), json.at(3), json.at(4)};
}

Json RecordJson(const TrainingRecord& record) {
  const TrainingPosition& position = record.position;
  return {{"format_version", kCheckpointFormatVersion},
          {"step", position.step},
          {"epoch", position.epoch},
          {"users_done", position.users_done},
          {"epoch_steps", position.epoch_steps},
          {"epoch_loss_sums", LossesJson(position.epoch_sums)},
          {"validation_mrr", position.validation_mrr},
          {"best_mrr", position.best_mrr},
          {"best_epoch", position.best_epoch},
          {"options", record.options}};
}

std::map<std::string, std::string> Metadata(const ModelCard& card, int64_t step) {
  return {{"format", "mixrec-model"},
          {"format_version", std::to_string(kCheckpointFormatVersion)},
          {"mode", model::ModeName(card.options.mode)},
          {"architecture", card.options.architecture},
          {"model_options", ToJson(card.options).dump()},
          {"step", std::to_string(step)}};
}

// Index order; ids, titles and sentences hold neither tabs nor line ends.
std::string ItemTable(const data::Dataset& dataset) {
  std::string text = "item_id\ttitle\tsentence\n";
  for (int32_t item = 0; item < dataset.items(); ++item) {
    text += StrCat(dataset.item_id(item), "\t", dataset.title(item), "\t", dataset.sentence(item),
                   "\n");
  }
  return text;
}

std::string UserTable(const data::Dataset& dataset) {
  std::string text = "user_id\n";
  for (int32_t user = 0; user < dataset.users(); ++user) text += dataset.user_id(user) + "\n";
  return text;
}

}  // namespace

absl::Status WriteTrainingState(const std::string& folder, const TrainingRecord& record,
                                const ModelCard& card, const data::Dataset& dataset,
                                const TrainingTensors& tensors) {
  const auto file = [&](const char* name) { return StrCat(folder, "/", name); };
  const auto metadata = Metadata(card, record.position.step);
  MIXREC_RETURN_IF_ERROR(
      model::WriteSafetensors(file("model.safetensors"), tensors.trainable, metadata));
  MIXREC_RETURN_IF_ERROR(
      model::WriteSafetensors(file("optimizer.safetensors"), tensors.optimizer,
                              {{"format", "mixrec-optimizer"},
                               {"format_version", std::to_string(kCheckpointFormatVersion)}}));
  MIXREC_RETURN_IF_ERROR(WriteFileAtomic(file("model.json"), ToJson(card).dump(2) + "\n"));
  MIXREC_RETURN_IF_ERROR(WriteFileAtomic(file("items.tsv"), ItemTable(dataset)));
  if (card.options.has_cf()) {
    MIXREC_RETURN_IF_ERROR(WriteFileAtomic(file("users.tsv"), UserTable(dataset)));
  }
  return WriteFileAtomic(file("state.json"), ToText(record));
}

std::string ToText(const TrainingRecord& record) { return RecordJson(record).dump(2) + "\n"; }

absl::StatusOr<TrainingRecord> ReadTrainingRecord(const std::string& folder) {
  const std::string path = folder + "/state.json";
  MIXREC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return ParseTrainingRecord(text, path);
}

absl::StatusOr<TrainingRecord> ParseTrainingRecord(const std::string& text,
                                                   const std::string& path) {
  try {
    const Json json = Json::parse(text);
    TrainingRecord record;
    TrainingPosition& position = record.position;
    position.step = json.at("step");
    position.epoch = json.at("epoch");
    position.users_done = json.at("users_done");
    position.epoch_steps = json.at("epoch_steps");
    position.epoch_sums = LossesOf(json.at("epoch_loss_sums"));
    position.validation_mrr = json.at("validation_mrr").get<std::vector<double>>();
    position.best_mrr = json.at("best_mrr");
    position.best_epoch = json.at("best_epoch");
    record.options = json.at("options");
    return record;
  } catch (const nlohmann::json::exception& error) {
    return DataError(path, ": ", error.what());
  }
}

namespace {

// Every view out of the file, which has no other tensors than those of `elsewhere`.
absl::Status ReadTensorsInto(const std::string& path, const model::NamedTensors& views,
                             const TableSpecList& elsewhere) {
  MIXREC_ASSIGN_OR_RETURN(model::SafetensorsFile file, model::SafetensorsFile::Open(path));
  std::set<std::string> known;
  for (const auto& [name, view] : views) {
    const model::TensorInfo* info = file.Find(name);
    if (info == nullptr) return DataError(path, ": tensor ", name, " is missing");
    const std::vector<int64_t> expected = view.sizes().vec();
    if (info->shape != expected) {
      return DataError(path, ": tensor ", name, " has shape ", model::ShapeText(info->shape),
                       ", expected ", model::ShapeText(expected));
    }
    MIXREC_ASSIGN_OR_RETURN(const at::Tensor values, file.Get(name));
    view.copy_(values);
    known.insert(name);
  }
  for (const std::string& name : file.names()) {
    if (known.count(name) == 0 && !IsOfTables(elsewhere, name)) {
      return DataError(path, ": unknown tensor ", name);
    }
  }
  return absl::OkStatus();
}

// The views that are not of tables.
model::NamedTensors DenseOnly(const TableSpecList& specs, const model::NamedTensors& views) {
  model::NamedTensors dense;
  for (const auto& view : views) {
    if (!IsOfTables(specs, view.first)) dense.push_back(view);
  }
  return dense;
}

absl::Status AppendTableTensors(const std::string& path, const TableSpecList& specs,
                                model::NamedTensors* tensors) {
  MIXREC_ASSIGN_OR_RETURN(model::SafetensorsFile file, model::SafetensorsFile::Open(path));
  for (const std::string& name : file.names()) {
    if (!IsOfTables(specs, name)) continue;
    MIXREC_ASSIGN_OR_RETURN(at::Tensor values, file.Get(name));
    tensors->emplace_back(name, std::move(values));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadTrainingTensors(const std::string& checkpoint, int64_t step,
                                 const ModelState& state, const TrainingTensors& tensors,
                                 bool with_optimizer) {
  const TableSpecList& specs = state.table_specs();
  const bool embedded = state.placement().session == nullptr;
  const bool apart = PathExists(TablesFolder(checkpoint));
  const auto read = [&](const char* name, const model::NamedTensors& views) {
    return ReadTensorsInto(StrCat(checkpoint, "/", name), apart ? DenseOnly(specs, views) : views,
                           embedded ? TableSpecList() : specs);
  };
  MIXREC_RETURN_IF_ERROR(read("model.safetensors", tensors.trainable));
  if (with_optimizer) MIXREC_RETURN_IF_ERROR(read("optimizer.safetensors", tensors.optimizer));
  if (!embedded || !apart) return absl::OkStatus();
  model::NamedTensors views = tensors.trainable;
  if (with_optimizer) views.insert(views.end(), tensors.optimizer.begin(), tensors.optimizer.end());
  return ReadTablesInto(TablesFolder(checkpoint), step, specs, views);
}

absl::Status SendCheckpointTables(const std::string& checkpoint, int64_t step,
                                  const ModelState& state, const std::string& scratch) {
  ps::Session* const session = state.placement().session;
  const std::string folder = TablesFolder(checkpoint);
  if (PathExists(folder)) {
    return session->Restore(std::filesystem::absolute(folder).string(), step);
  }
  const TableSpecList& specs = state.table_specs();
  model::NamedTensors tensors;
  for (const char* name : {"model.safetensors", "optimizer.safetensors"}) {
    MIXREC_RETURN_IF_ERROR(AppendTableTensors(StrCat(checkpoint, "/", name), specs, &tensors));
  }
  return SendTables(specs, tensors, step, scratch, session);
}

absl::StatusOr<ModelCard> ReadModelCard(const std::string& checkpoint) {
  const std::string path = checkpoint + "/model.json";
  MIXREC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return ParseModelCard(text, path);
}

absl::StatusOr<LoadedModel> LoadModel(const std::string& checkpoint,
                                      const model::Backbone& backbone, const data::Dataset& dataset,
                                      const Placement& placement, const std::string& scratch) {
  LoadedModel loaded;
  MIXREC_ASSIGN_OR_RETURN(loaded.card, ReadModelCard(checkpoint));
  const ModelCard& card = loaded.card;
  const ModelCard given = MakeModelCard(card.options, backbone, dataset, card.max_items);
  if (card.item_ids_hash != given.item_ids_hash || card.users != given.users) {
    return DataError("checkpoint ", checkpoint, " was trained on other data: ", card.items,
                     " items and ", card.users, " users (item ids ", card.item_ids_hash,
                     "), the data given have ", given.items, " and ", given.users, " (item ids ",
                     given.item_ids_hash, ")");
  }
  if (card.backbone_hash != given.backbone_hash || card.hidden != given.hidden ||
      card.layers != given.layers) {
    return DataError("checkpoint ", checkpoint, " was trained over another backbone: hidden ",
                     card.hidden, ", ", card.layers, " layers (hash ", card.backbone_hash,
                     "), the one given has hidden ", given.hidden, ", ", given.layers,
                     " layers (hash ", given.backbone_hash, ")");
  }
  loaded.state = std::make_unique<ModelState>(backbone, card.options, card.users, card.items,
                                              tensor::AdamWOptions(), placement);
  MIXREC_ASSIGN_OR_RETURN(const TrainingRecord record, ReadTrainingRecord(checkpoint));
  MIXREC_RETURN_IF_ERROR(ReadTrainingTensors(checkpoint, record.position.step, *loaded.state,
                                             {loaded.state->Trainable(), {}},
                                             /*with_optimizer=*/false));
  if (placement.session != nullptr) {
    MIXREC_RETURN_IF_ERROR(loaded.state->CreateTables(/*seed=*/0));
    if (!scratch.empty()) {
      MIXREC_RETURN_IF_ERROR(
          SendCheckpointTables(checkpoint, record.position.step, *loaded.state, scratch));
    }
    loaded.state->set_step(record.position.step);
  }
  loaded.state->Refresh();
  loaded.step = record.position.step;
  loaded.epoch = static_cast<int64_t>(record.position.validation_mrr.size());
  return loaded;
}

}  // namespace mixrec::worker
