// A tiny BERT with random weights (hidden 8, 2 layers, 2 heads, 24 tokens, 32 positions), written
// as a Hugging Face folder.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "common/file.h"
#include "common/random.h"
#include "model/safetensors.h"

namespace mixrec::model {

inline nlohmann::json TinyBertConfig() {
  return {{"model_type", "bert"},          {"vocab_size", 24},         {"hidden_size", 8},
          {"num_hidden_layers", 2},        {"num_attention_heads", 2}, {"intermediate_size", 16},
          {"max_position_embeddings", 32}, {"type_vocab_size", 2},     {"hidden_act", "gelu"}};
}

inline NamedTensors TinyBertTensors(uint64_t seed) {
  NamedTensors tensors;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape, double scale = 0.5) {
    const at::Tensor tensor = at::empty(shape, at::kFloat);
    RandomStream random(HashKey(seed, name));
    for (int64_t k = 0; k < tensor.numel(); ++k) {
      tensor.data_ptr<float>()[k] = static_cast<float>(scale * random.Normal());
    }
    tensors.emplace_back(name, tensor);
  };
  const auto add_linear = [&](const std::string& name, int64_t out, int64_t in) {
    add(name + ".weight", {out, in});
    add(name + ".bias", {out});
  };
  const auto add_norm = [&](const std::string& name) {
    add(name + ".weight", {8}, 1);
    add(name + ".bias", {8});
  };
  add("embeddings.word_embeddings.weight", {24, 8});
  add("embeddings.position_embeddings.weight", {32, 8});
  add("embeddings.token_type_embeddings.weight", {2, 8});
  add_norm("embeddings.LayerNorm");
  for (const char* layer : {"encoder.layer.0.", "encoder.layer.1."}) {
    for (const char* part : {"query", "key", "value"}) {
      add_linear(std::string(layer) + "attention.self." + part, 8, 8);
    }
    add_linear(std::string(layer) + "attention.output.dense", 8, 8);
    add_norm(std::string(layer) + "attention.output.LayerNorm");
    add_linear(std::string(layer) + "intermediate.dense", 16, 8);
    add_linear(std::string(layer) + "output.dense", 8, 16);
    add_norm(std::string(layer) + "output.LayerNorm");
  }
  return tensors;
}

// The folder's config.json and model.safetensors, and a vocab.txt of 24 words.
inline void WriteTinyBert(const std::string& folder, const NamedTensors& tensors) {
  ASSERT_TRUE(MakeFolder(folder).ok());
  ASSERT_TRUE(WriteFileAtomic(folder + "/config.json", TinyBertConfig().dump()).ok());
  std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n";
  for (char letter = 'a'; letter < 'a' + 20; ++letter) {
    vocabulary += std::string(letter < 'k' ? "" : "##") + letter + "\n";
  }
  ASSERT_TRUE(WriteFileAtomic(folder + "/vocab.txt", vocabulary).ok());
  const absl::Status status = WriteSafetensors(folder + "/model.safetensors", tensors, {});
  ASSERT_TRUE(status.ok()) << status;
}

}  // namespace mixrec::model
