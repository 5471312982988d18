#include <cstdint>
#include <string>

#include "common/status.h"
#include "model/backbone.h"
#include "model/config_reader.h"

namespace mixrec::model {
namespace {

// Far above every published OPT (66B: 9216 wide, 64 layers), low enough that no product overflows.
constexpr int64_t kMaximumWidth = 1 << 17;
constexpr int64_t kMaximumLayers = 1 << 12;
constexpr int64_t kMaximumRows = 1 << 24;

}  // namespace

absl::StatusOr<OptConfig> ReadOptConfig(const std::string& folder) {
  MIXREC_ASSIGN_OR_RETURN(ConfigReader reader, ConfigReader::Open(folder));
  reader.RequireText("model_type", "opt");
  if (reader.Has("activation_function")) reader.RequireText("activation_function", "relu");
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
