#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "common/file.h"
#include "common/status.h"
#include "model/backbone.h"

namespace mixrec::model {
namespace {

using Json = nlohmann::json;

// Far above every published OPT (66B: 9216 wide, 64 layers), low enough that no product overflows.
constexpr int64_t kMaximumWidth = 1 << 17;
constexpr int64_t kMaximumLayers = 1 << 12;
constexpr int64_t kMaximumRows = 1 << 24;

// Reads the fields of one config.json; the first failure is kept and named.
class ConfigReader {
 public:
  ConfigReader(const Json& json, std::string path) : json_(json), path_(std::move(path)) {}

  // An integer in [1, maximum]; a missing or null field gives `fallback` (0: it must be there).
  int64_t Size(const char* field, int64_t maximum, int64_t fallback = 0) {
    const Json* value = Find(field);
    if (value == nullptr) {
      if (fallback > 0) return fallback;
      Fail(field, "is missing");
      return 1;
    }
    if (!value->is_number_integer()) {
      Fail(field, "must be an integer");
      return 1;
    }
    const bool too_large =
        value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(maximum);
    if (too_large || value->get<int64_t>() < 1) {
      Fail(field, StrCat("must be between 1 and ", maximum));
      return 1;
    }
    return value->get<int64_t>();
  }

  bool Flag(const char* field, bool fallback) {
    const Json* value = Find(field);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) {
      Fail(field, "must be true or false");
      return fallback;
    }
    return value->get<bool>();
  }

  void RequireText(const char* field, const std::string& expected) {
    const Json* value = Find(field);
    if (value == nullptr || !value->is_string() || value->get<std::string>() != expected) {
      Fail(field, StrCat("must be \"", expected, "\""));
    }
  }

  void Fail(const char* field, const std::string& what) {
    if (!status_.ok()) return;
    const Json* value = Find(field);
    status_ = DataError(path_, ": field \"", field, "\" ", what,
                        value == nullptr ? "" : StrCat(", found ", Shorten(*value)));
  }

  const absl::Status& status() const { return status_; }

 private:
  const Json* Find(const char* field) const {
    const auto found = json_.find(field);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }
  static std::string Shorten(const Json& value) {
    if (value.is_structured()) return value.type_name();
    return value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 60);
  }

  const Json& json_;
  std::string path_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<OptConfig> ReadOptConfig(const std::string& folder) {
  const std::string path = StrCat(folder, "/config.json");
  MIXREC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return DataError(path, ": not a JSON object");

  ConfigReader reader(json, path);
  reader.RequireText("model_type", "opt");
  if (json.contains("activation_function")) reader.RequireText("activation_function", "relu");
  if (!reader.Flag("enable_bias", true)) reader.Fail("enable_bias", "must be true");
  if (!reader.Flag("layer_norm_elementwise_affine", true)) {
    reader.Fail("layer_norm_elementwise_affine", "must be true");
  }
  OptConfig config;
  config.vocab_size = reader.Size("vocab_size", kMaximumRows);
  config.hidden = reader.Size("hidden_size", kMaximumWidth);
  config.layers = reader.Size("num_hidden_layers", kMaximumLayers);
  config.heads = reader.Size("num_attention_heads", kMaximumWidth);
  config.ffn = reader.Size("ffn_dim", 8 * kMaximumWidth);
  config.max_positions = reader.Size("max_position_embeddings", kMaximumRows);
  config.word_width = reader.Size("word_embed_proj_dim", kMaximumWidth, config.hidden);
  config.pre_layer_norm = reader.Flag("do_layer_norm_before", true);
  config.final_layer_norm =
      config.pre_layer_norm && !reader.Flag("_remove_final_layer_norm", false);
  if (config.hidden % config.heads != 0) {
    reader.Fail("num_attention_heads", StrCat("must divide hidden_size = ", config.hidden));
  }
  MIXREC_RETURN_IF_ERROR(reader.status());
  return config;
}

}  // namespace mixrec::model
