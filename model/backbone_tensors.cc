#include <fstream>
#include <limits>
#include <string>

#include "common/log.h"
#include "model/backbone.h"

namespace mixrec::model {
namespace {

OptLayer AllocateLayer(const OptConfig& config, const at::TensorOptions& options) {
  const int64_t width = config.hidden, ffn = config.ffn;
  OptLayer layer;
  layer.qkv_weight = at::empty({3 * width, width}, options);
  layer.qkv_bias = at::empty({3 * width}, options);
  layer.out_weight = at::empty({width, width}, options);
  layer.out_bias = at::empty({width}, options);
  layer.fc1_weight = at::empty({ffn, width}, options);
  layer.fc1_bias = at::empty({ffn}, options);
  layer.fc2_weight = at::empty({width, ffn}, options);
  layer.fc2_bias = at::empty({width}, options);
  for (at::Tensor* norm :
       {&layer.ln1_weight, &layer.ln1_bias, &layer.ln2_weight, &layer.ln2_bias}) {
    *norm = at::empty({width}, options);
  }
  return layer;
}

// MemAvailable of /proc/meminfo in bytes; the largest number when it cannot be read.
int64_t AvailableHostBytes() {
  std::ifstream meminfo("/proc/meminfo");
  std::string field;
  int64_t kilobytes = 0;
  while (meminfo >> field >> kilobytes) {
    if (field == "MemAvailable:") return kilobytes * 1024;
    meminfo.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return std::numeric_limits<int64_t>::max();
}

}  // namespace

Backbone AllocateBackbone(const OptConfig& config, at::Device device, at::ScalarType dtype) {
  const auto options = at::TensorOptions().device(device).dtype(dtype);
  const int64_t width = config.hidden, words = config.word_width;
  Backbone backbone;
  backbone.config = config;
  backbone.word_embedding = at::empty({config.vocab_size, words}, options);
  backbone.position_embedding = at::empty({config.max_positions + 2, width}, options);
  if (words != width) {
    backbone.project_in = at::empty({width, words}, options);
    backbone.project_out = at::empty({words, width}, options);
  }
  if (config.final_layer_norm) {
    backbone.final_ln_weight = at::empty({width}, options);
    backbone.final_ln_bias = at::empty({width}, options);
  }
  for (int64_t k = 0; k < config.layers; ++k) {
    backbone.layers.push_back(AllocateLayer(config, options));
  }
  return backbone;
}

std::vector<std::pair<std::string, at::Tensor>> CheckpointTensors(const Backbone& backbone) {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  const auto add = [&](const std::string& name, const at::Tensor& tensor) {
    if (tensor.defined()) tensors.emplace_back(name, tensor);
  };
  const auto add_pair = [&](const std::string& name, const at::Tensor& weight,
                            const at::Tensor& bias) {
    add(name + ".weight", weight);
    add(name + ".bias", bias);
  };
  add("embed_tokens.weight", backbone.word_embedding);
  add("embed_positions.weight", backbone.position_embedding);
  add("project_in.weight", backbone.project_in);
  add("project_out.weight", backbone.project_out);
  const int64_t width = backbone.config.hidden;
  for (size_t k = 0; k < backbone.layers.size(); ++k) {
    const OptLayer& layer = backbone.layers[k];
    const std::string prefix = StrCat("layers.", k, ".");
    int64_t row = 0;
    for (const char* part : {"q_proj", "k_proj", "v_proj"}) {
      add_pair(StrCat(prefix, "self_attn.", part), layer.qkv_weight.narrow(0, row, width),
               layer.qkv_bias.narrow(0, row, width));
      row += width;
    }
    add_pair(prefix + "self_attn.out_proj", layer.out_weight, layer.out_bias);
    add_pair(prefix + "self_attn_layer_norm", layer.ln1_weight, layer.ln1_bias);
    add_pair(prefix + "fc1", layer.fc1_weight, layer.fc1_bias);
    add_pair(prefix + "fc2", layer.fc2_weight, layer.fc2_bias);
    add_pair(prefix + "final_layer_norm", layer.ln2_weight, layer.ln2_bias);
  }
  add("final_layer_norm.weight", backbone.final_ln_weight);
  add("final_layer_norm.bias", backbone.final_ln_bias);
  return tensors;
}

int64_t BackboneBytes(const OptConfig& config, at::ScalarType dtype) {
  const int64_t width = config.hidden, words = config.word_width, ffn = config.ffn;
  const int64_t layer = 4 * width * width + 2 * width * ffn + 9 * width + ffn;
  int64_t elements =
      config.vocab_size * words + (config.max_positions + 2) * width + config.layers * layer;
  if (words != width) elements += 2 * words * width;
  if (config.final_layer_norm) elements += 2 * width;
  return elements * static_cast<int64_t>(c10::elementSize(dtype));
}

absl::Status CheckHostMemory(const std::string& what, int64_t bytes) {
  const int64_t available = AvailableHostBytes();
  if (bytes <= available) return absl::OkStatus();
  const auto gib = [](int64_t count) { return static_cast<double>(count >> 20) / 1024; };
  return MemoryError(what, " needs ", gib(bytes), " GiB of memory, ", gib(available),
                     " GiB are available; use a smaller one, or a narrower dtype");
}

}  // namespace mixrec::model
