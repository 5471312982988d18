#include "worker/model_card.h"

#include "common/file.h"

namespace mixrec::worker {
namespace {

using Json = nlohmann::ordered_json;

const char* ActivationName(model::AdapterActivation activation) {
  switch (activation) {
    case model::AdapterActivation::kNone:
      return "none";
    case model::AdapterActivation::kRelu:
      return "relu";
    case model::AdapterActivation::kGelu:
      return "gelu";
  }
  return "unknown";
}

// Reads one field after the other; remembers the first that is missing or of another type.
class FieldReader {
 public:
  FieldReader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {}

  template <typename T>
  void Read(const char* name, T* value) {
    if (!status_.ok()) return;
    try {
      *value = json_.at(name).get<T>();
    } catch (const nlohmann::json::exception&) {
      status_ = DataError(where_, ": field \"", name, "\" is missing or malformed");
    }
  }
  // A field that is an enumeration's name.
  template <typename T>
  void ReadName(const char* name, absl::StatusOr<T> (*parse)(const std::string&), T* value) {
    std::string text;
    Read(name, &text);
    if (!status_.ok()) return;
    const absl::StatusOr<T> parsed = parse(text);
    if (parsed.ok()) {
      *value = *parsed;
    } else {
      status_ = DataError(where_, ": field \"", name, "\" has the unknown value ", text);
    }
  }
  const absl::Status& status() const { return status_; }

 private:
  const Json& json_;
  std::string where_;
  absl::Status status_;
};

absl::Status ReadModelOptions(const Json& json, const std::string& where,
                              model::ModelOptions* options) {
  FieldReader fields(json, where);
  fields.ReadName("mode", &model::ParseMode, &options->mode);
  fields.Read("architecture", &options->architecture);
  fields.Read("replace_every", &options->replace_every);
  fields.Read("bottleneck", &options->bottleneck);
  fields.ReadName("adapter_act", &model::ParseAdapterActivation, &options->adapter_activation);
  if (json.contains("parallel_form")) {  // older cards lack it: literal
    fields.ReadName("parallel_form", &model::ParseParallelForm, &options->parallel_form);
    fields.Read("parallel_scale", &options->parallel_scale);
  }
  fields.Read("inject_user", &options->inject_user);
  fields.Read("inject_item", &options->inject_item);
  fields.Read("dropout", &options->dropout);
  fields.ReadName("cf_model", &model::ParseCfKind, &options->cf);
  fields.Read("cf_gmf", &options->cf_gmf);
  fields.Read("cf_mlp", &options->cf_mlp);
  fields.Read("cf_hidden", &options->cf_hidden);
  fields.Read("cf_mf", &options->mf_width);
  if (json.contains("cf_training")) {  // older cards lack it: joint
    std::string training;
    fields.Read("cf_training", &training);
    options->cf_frozen = training == "frozen";
  }
  fields.Read("lambda_align", &options->lambda_align);
  fields.Read("lambda_cl", &options->lambda_cl);
  fields.Read("lambda_cf", &options->lambda_cf);
  fields.Read("tau", &options->temperature);
  return fields.status();
}

}  // namespace

ModelCard MakeModelCard(const model::ModelOptions& options, const model::Backbone& backbone,
                        const data::Dataset& dataset, int max_items) {
  std::string ids;
  for (int32_t item = 0; item < dataset.items(); ++item) ids += dataset.item_id(item) + "\n";
  ModelCard card;
  card.options = options;
  card.users = dataset.users();
  card.items = dataset.items();
  card.hidden = backbone.config.hidden;
  card.layers = backbone.config.layers;
  card.max_items = max_items;
  card.data_hash = dataset.content_hash();
  card.item_ids_hash = ContentHash(ids);
  card.backbone_hash = backbone.content_hash;
  return card;
}

Json ToJson(const model::ModelOptions& options) {
  return {{"mode", model::ModeName(options.mode)},
          {"architecture", options.architecture},
          {"replace_every", options.replace_every},
          {"bottleneck", options.bottleneck},
          {"adapter_act", ActivationName(options.adapter_activation)},
          {"parallel_form", model::ParallelFormName(options.parallel_form)},
          {"parallel_scale", options.parallel_scale},
          {"inject_user", options.inject_user},
          {"inject_item", options.inject_item},
          {"dropout", options.dropout},
          {"cf_model", options.cf == model::CfKind::kNcf ? "ncf" : "mf"},
          {"cf_gmf", options.cf_gmf},
          {"cf_mlp", options.cf_mlp},
          {"cf_hidden", options.cf_hidden},
          {"cf_mf", options.mf_width},
          {"cf_training", options.cf_frozen ? "frozen" : "joint"},
          {"lambda_align", options.lambda_align},
          {"lambda_cl", options.lambda_cl},
          {"lambda_cf", options.lambda_cf},
          {"tau", options.temperature}};
}

Json ToJson(const ModelCard& card) {
  return {{"format", "mixrec-model"},
          {"format_version", kCheckpointFormatVersion},
          {"options", ToJson(card.options)},
          {"users", card.users},
          {"items", card.items},
          {"hidden", card.hidden},
          {"layers", card.layers},
          {"max_items", card.max_items},
          {"data_hash", card.data_hash},
          {"item_ids_hash", card.item_ids_hash},
          {"backbone_hash", card.backbone_hash}};
}

absl::StatusOr<ModelCard> ParseModelCard(const std::string& text, const std::string& where) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return DataError(where, ": expected a JSON object");
  FieldReader fields(json, where);
  ModelCard card;
  int version = 0;
  fields.Read("format_version", &version);
  if (fields.status().ok() && version > kCheckpointFormatVersion) {
    return DataError(where, ": format version ", version, " is newer than this program's ",
                     kCheckpointFormatVersion);
  }
  Json options;
  fields.Read("options", &options);
  fields.Read("users", &card.users);
  fields.Read("items", &card.items);
  fields.Read("hidden", &card.hidden);
  fields.Read("layers", &card.layers);
  fields.Read("max_items", &card.max_items);
  fields.Read("data_hash", &card.data_hash);
  fields.Read("item_ids_hash", &card.item_ids_hash);
  fields.Read("backbone_hash", &card.backbone_hash);
  MIXREC_RETURN_IF_ERROR(fields.status());
  MIXREC_RETURN_IF_ERROR(ReadModelOptions(options, where, &card.options));
  if (card.max_items < 1) return DataError(where, ": max_items must be positive");
  const absl::Status valid = model::ValidateModelOptions(card.layers, &card.options);
  if (!valid.ok()) return DataError(where, ": ", valid.message());
  return card;
}

}  // namespace mixrec::worker
