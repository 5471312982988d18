#include "model/bert.h"

#include <ATen/core/grad_mode.h>

#include <array>
#include <utility>

#include "common/log.h"
#include "model/backbone.h"
#include "model/checkpoint_values.h"
#include "model/config_reader.h"

namespace mixrec::model {
namespace {

constexpr int64_t kMaximumWidth = 1 << 16;
constexpr int64_t kMaximumLayers = 1 << 10;
constexpr int64_t kMaximumRows = 1 << 24;

BertActivation ReadActivation(ConfigReader* reader) {
  const std::string name = reader->Text("hidden_act", "gelu");
  if (name == "relu") return BertActivation::kRelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return BertActivation::kGeluTanh;
  if (name != "gelu") {
    reader->Fail("hidden_act", "must be gelu, gelu_new, gelu_pytorch_tanh or relu");
  }
  return BertActivation::kGelu;
}

absl::StatusOr<BertConfig> ReadBertConfig(const std::string& folder) {
  MIXREC_ASSIGN_OR_RETURN(ConfigReader reader, ConfigReader::Open(folder));
  reader.RequireText("model_type", "bert");
  if (reader.Has("position_embedding_type")) {
    reader.RequireText("position_embedding_type", "absolute");
  }
  BertConfig config;
  config.vocab_size = reader.Size("vocab_size", kMaximumRows);
  config.hidden = reader.Size("hidden_size", kMaximumWidth);
  config.layers = reader.Size("num_hidden_layers", kMaximumLayers);
  config.heads = reader.Size("num_attention_heads", kMaximumWidth);
  config.ffn = reader.Size("intermediate_size", 8 * kMaximumWidth);
  config.max_positions = reader.Size("max_position_embeddings", kMaximumRows);
  config.token_types = reader.Size("type_vocab_size", kMaximumRows, 2);
  config.norm_epsilon = reader.Positive("layer_norm_eps", 1e-12);
  config.activation = ReadActivation(&reader);
  if (config.hidden % config.heads != 0) {
    reader.Fail("num_attention_heads", StrCat("must divide hidden_size = ", config.hidden));
  }
  MIXREC_RETURN_IF_ERROR(reader.status());
  return config;
}

Bert AllocateBert(const BertConfig& config, at::Device device, at::ScalarType dtype) {
  const auto options = at::TensorOptions().device(device).dtype(dtype);
  const int64_t width = config.hidden, ffn = config.ffn;
  const auto vector = [&] { return at::empty({width}, options); };
  Bert bert;
  bert.config = config;
  bert.word_embedding = at::empty({config.vocab_size, width}, options);
  bert.position_embedding = at::empty({config.max_positions, width}, options);
  bert.token_type_embedding = at::empty({config.token_types, width}, options);
  bert.norm_weight = vector();
  bert.norm_bias = vector();
  for (int64_t k = 0; k < config.layers; ++k) {
    BertLayer layer;
    layer.qkv_weight = at::empty({3 * width, width}, options);
    layer.qkv_bias = at::empty({3 * width}, options);
    layer.out_weight = at::empty({width, width}, options);
    layer.fc1_weight = at::empty({ffn, width}, options);
    layer.fc1_bias = at::empty({ffn}, options);
    layer.fc2_weight = at::empty({width, ffn}, options);
    for (at::Tensor* tensor : {&layer.out_bias, &layer.fc2_bias, &layer.norm1_weight,
                               &layer.norm1_bias, &layer.norm2_weight, &layer.norm2_bias}) {
      *tensor = vector();
    }
    bert.layers.push_back(std::move(layer));
  }
  return bert;
}

using Named = std::vector<std::pair<std::string, at::Tensor>>;

void AddPair(const std::string& name, const at::Tensor& weight, const at::Tensor& bias,
             Named* tensors) {
  tensors->emplace_back(name + ".weight", weight);
  tensors->emplace_back(name + ".bias", bias);
}

// Every tensor under its name in a checkpoint, without prefix; q, k and v are rows of qkv.
Named TensorsOf(const Bert& bert) {
  Named tensors{{"embeddings.word_embeddings.weight", bert.word_embedding},
                {"embeddings.position_embeddings.weight", bert.position_embedding},
                {"embeddings.token_type_embeddings.weight", bert.token_type_embedding}};
  AddPair("embeddings.LayerNorm", bert.norm_weight, bert.norm_bias, &tensors);
  const int64_t width = bert.config.hidden;
  for (size_t k = 0; k < bert.layers.size(); ++k) {
    const BertLayer& layer = bert.layers[k];
    const std::string prefix = StrCat("encoder.layer.", k, ".");
    int64_t row = 0;
    for (const char* part : {"query", "key", "value"}) {
      AddPair(StrCat(prefix, "attention.self.", part), layer.qkv_weight.narrow(0, row, width),
              layer.qkv_bias.narrow(0, row, width), &tensors);
      row += width;
    }
    AddPair(prefix + "attention.output.dense", layer.out_weight, layer.out_bias, &tensors);
    AddPair(prefix + "attention.output.LayerNorm", layer.norm1_weight, layer.norm1_bias, &tensors);
    AddPair(prefix + "intermediate.dense", layer.fc1_weight, layer.fc1_bias, &tensors);
    AddPair(prefix + "output.dense", layer.fc2_weight, layer.fc2_bias, &tensors);
    AddPair(prefix + "output.LayerNorm", layer.norm2_weight, layer.norm2_bias, &tensors);
  }
  return tensors;
}

// The name under which the file has it: with or without "bert.", layer norms by their old names.
std::string NameIn(const TensorSource& source, const std::string& name) {
  std::string old = name;
  const size_t norm = name.find("LayerNorm.");
  if (norm != std::string::npos) {
    old = name.substr(0, norm + 10) + (name.substr(norm + 10) == "weight" ? "gamma" : "beta");
  }
  for (const std::string& candidate : {name, "bert." + name, old, "bert." + old}) {
    if (source.Find(candidate) != nullptr) return candidate;
  }
  return name;
}

absl::StatusOr<Bert> Load(const std::string& folder, at::Device device, at::ScalarType dtype) {
  MIXREC_ASSIGN_OR_RETURN(const BertConfig config, ReadBertConfig(folder));
  MIXREC_ASSIGN_OR_RETURN(const auto source, OpenCheckpoint(folder));
  int64_t bytes = 0;
  for (const auto& [name, expected] : TensorsOf(AllocateBert(config, at::kMeta, at::kFloat))) {
    MIXREC_ASSIGN_OR_RETURN(const int64_t size,
                            CheckTensor(*source, NameIn(*source, name), expected.sizes().vec()));
    bytes += size;
  }
  MIXREC_RETURN_IF_ERROR(CheckHostMemory(StrCat("the encoder ", folder), bytes));
  Bert bert = AllocateBert(config, device, dtype);
  for (const auto& [name, target] : TensorsOf(bert)) {
    MIXREC_RETURN_IF_ERROR(CopyTensor(source.get(), NameIn(*source, name), target));
  }
  MIXREC_ASSIGN_OR_RETURN(bert.content_hash, CheckpointHash(folder, *source));
  return bert;
}

}  // namespace

absl::StatusOr<Bert> LoadBert(const std::string& folder, at::Device device, at::ScalarType dtype) {
  CHECK(at::isFloatingType(dtype)) << "an encoder's dtype is a floating-point type";
  const at::NoGradGuard no_gradient;
  return CatchLoading(StrCat("the encoder ", folder), device,
                      [&] { return Load(folder, device, dtype); });
}

}  // namespace mixrec::model
