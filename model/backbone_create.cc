#include "model/backbone_create.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/file.h"
#include "common/log.h"
#include "common/random.h"
#include "model/safetensors.h"

namespace mixrec::model {
namespace {

constexpr double kInitialDeviation = 0.02;  // OPT's init_std
constexpr int64_t kChunk = 4096;            // values that one random stream makes

struct Shape {
  const char* name;
  int64_t hidden, layers, heads;
};
// The feed-forward width is 4 * hidden everywhere.
constexpr std::array<Shape, 8> kShapes = {{{"opt-125m", 768, 12, 12},
                                           {"opt-350m", 1024, 24, 16},
                                           {"opt-1.3b", 2048, 24, 32},
                                           {"opt-2.7b", 2560, 32, 32},
                                           {"opt-6.7b", 4096, 32, 32},
                                           {"opt-13b", 5120, 40, 40},
                                           {"opt-30b", 7168, 48, 56},
                                           {"opt-66b", 9216, 64, 72}}};

const char* TorchName(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return "float32";
    case at::kHalf:
      return "float16";
    case at::kBFloat16:
      return "bfloat16";
    default:
      LOG(FATAL) << "a backbone is written as float32, float16 or bfloat16";
  }
}

bool EndsWith(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

}  // namespace

std::vector<std::string> PublishedShapes() {
  std::vector<std::string> names;
  for (const Shape& shape : kShapes) names.emplace_back(shape.name);
  return names;
}

absl::StatusOr<OptConfig> PublishedShape(const std::string& name) {
  std::string known;
  for (const Shape& shape : kShapes) {
    known += StrCat(known.empty() ? "" : ", ", shape.name);
    if (name != shape.name) continue;
    OptConfig config;
    config.vocab_size = 50272;
    config.hidden = config.word_width = shape.hidden;
    config.layers = shape.layers;
    config.heads = shape.heads;
    config.ffn = 4 * shape.hidden;
    config.max_positions = 2048;
    if (name == "opt-350m") {  // the only one with layer norms after its blocks
      config.word_width = 512;
      config.pre_layer_norm = config.final_layer_norm = false;
    }
    return config;
  }
  return UsageError("no published shape is called \"", name, "\"; there are ", known);
}

void FillNormal(uint64_t key, at::Tensor tensor) {
  const at::Tensor flat = tensor.view({-1});
  at::parallel_for(0, (flat.numel() + kChunk - 1) / kChunk, 1, [&](int64_t begin, int64_t end) {
    const at::NoGradGuard no_gradient;
    at::Tensor values = at::empty({kChunk}, at::kFloat);
    float* data = values.data_ptr<float>();
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const int64_t start = chunk * kChunk;
      const int64_t count = std::min(kChunk, flat.numel() - start);
      RandomStream stream(HashKey(key, static_cast<uint64_t>(chunk)));
      for (int64_t i = 0; i < count; ++i) {
        data[i] = static_cast<float>(kInitialDeviation * stream.Normal());
      }
      flat.narrow(0, start, count).copy_(values.narrow(0, 0, count));
    }
  });
}

std::string SpecialTokensPath(const std::string& folder) {
  return StrCat(folder, "/special_tokens.safetensors");
}

absl::StatusOr<Backbone> RandomBackbone(const OptConfig& config, uint64_t seed,
                                        at::ScalarType dtype) {
  MIXREC_RETURN_IF_ERROR(CheckHostMemory("the random backbone", BackboneBytes(config, dtype)));
  const at::NoGradGuard no_gradient;
  Backbone backbone = AllocateBackbone(config, at::kCPU, dtype);
  for (auto& [name, tensor] : CheckpointTensors(backbone)) {
    if (EndsWith(name, "layer_norm.weight")) {
      tensor.fill_(1);
    } else if (EndsWith(name, ".bias")) {
      tensor.zero_();
    } else {
      FillNormal(HashKey(seed, name), tensor);
    }
  }
  backbone.content_hash = ContentHash(StrCat(OptConfigJson(config, dtype), "random ", seed));
  return backbone;
}

std::string OptConfigJson(const OptConfig& config, at::ScalarType dtype) {
  const nlohmann::ordered_json json = {
      {"_remove_final_layer_norm", config.pre_layer_norm && !config.final_layer_norm},
      {"activation_dropout", 0.0},
      {"activation_function", "relu"},
      {"architectures", {"OPTForCausalLM"}},
      {"attention_dropout", 0.0},
      {"bos_token_id", 2},
      {"do_layer_norm_before", config.pre_layer_norm},
      {"dropout", 0.1},
      {"enable_bias", true},
      {"eos_token_id", 2},
      {"ffn_dim", config.ffn},
      {"hidden_size", config.hidden},
      {"init_std", kInitialDeviation},
      {"layer_norm_elementwise_affine", true},
      {"layerdrop", 0.0},
      {"max_position_embeddings", config.max_positions},
      {"model_type", "opt"},
      {"num_attention_heads", config.heads},
      {"num_hidden_layers", config.layers},
      {"pad_token_id", 1},
      {"tie_word_embeddings", true},
      {"torch_dtype", TorchName(dtype)},
      {"use_cache", true},
      {"vocab_size", config.vocab_size},
      {"word_embed_proj_dim", config.word_width},
  };
  return json.dump(2) + "\n";
}

absl::Status WriteBackbone(const Backbone& backbone, const std::string& folder,
                           at::ScalarType dtype) {
  const std::string config = OptConfigJson(backbone.config, dtype);
  MIXREC_RETURN_IF_ERROR(MakeFolder(folder));
  NamedTensors tensors = CheckpointTensors(backbone);
  for (auto& [name, tensor] : tensors) name = "model.decoder." + name;
  MIXREC_RETURN_IF_ERROR(
      WriteSafetensorsAs(StrCat(folder, "/model.safetensors"), tensors, {{"format", "pt"}}, dtype));
  const std::string special = SpecialTokensPath(folder);
  if (backbone.sequence_start.defined()) {
    MIXREC_RETURN_IF_ERROR(
        WriteSafetensorsAs(special, {{"sequence", backbone.sequence_start}}, {}, at::kFloat));
  } else {
    std::error_code ignored;
    std::filesystem::remove(special, ignored);
  }
  return WriteFileAtomic(StrCat(folder, "/config.json"), config);
}

}  // namespace mixrec::model
