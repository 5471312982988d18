// A frozen BERT encoder (Devlin et al. 2019; paper Appendix A): any BertModel folder in the Hugging
// Face layout, inference only. It takes token ids; data/wordpiece.h makes them.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"

namespace mixrec::model {

enum class BertActivation { kGelu, kGeluTanh, kRelu };

struct BertConfig {
  int64_t vocab_size = 0;
  int64_t hidden = 0;  // D
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t ffn = 0;            // F, intermediate_size
  int64_t max_positions = 0;  // longest text, [CLS] and [SEP] included
  int64_t token_types = 0;    // type_vocab_size; all tokens here are of type 0
  double norm_epsilon = 1e-12;
  BertActivation activation = BertActivation::kGelu;

  int64_t head_size() const { return hidden / heads; }
};

// Weights are [out, in]. Every tensor lives on one device in one dtype.
struct BertLayer {
  at::Tensor qkv_weight, qkv_bias;      // [3D, D], [3D]
  at::Tensor out_weight, out_bias;      // [D, D], [D]
  at::Tensor norm1_weight, norm1_bias;  // [D] after the attention
  at::Tensor fc1_weight, fc1_bias;      // [F, D], [F]
  at::Tensor fc2_weight, fc2_bias;      // [D, F], [D]
  at::Tensor norm2_weight, norm2_bias;  // [D] after the feed-forward network
};

struct Bert {
  BertConfig config;
  at::Tensor word_embedding;          // [vocab, D]
  at::Tensor position_embedding;      // [max_positions, D]
  at::Tensor token_type_embedding;    // [token_types, D]
  at::Tensor norm_weight, norm_bias;  // [D] of the embeddings' sum
  std::vector<BertLayer> layers;
  std::string content_hash;  // of config.json and the weight files
};

// Reads FOLDER/config.json and the weights (model.safetensors, pytorch_model.bin, or either in
// shards) onto `device` as `dtype`. Names may start with "bert."; layer norms may be called gamma
// and beta. DataError names the file and the field or tensor.
absl::StatusOr<Bert> LoadBert(const std::string& folder, at::Device device, at::ScalarType dtype);

// The last layer's states of texts of equal length: ids [B, T] int64, 1 <= T <= max_positions, to
// [B, T, D] in the model's dtype.
at::Tensor BertStates(const Bert& bert, const at::Tensor& ids);

// The mean of each text's states, special tokens included: [N, D] fp32 on the CPU. Texts of one
// length share a batch of at most `batch_tokens` tokens, so nothing is padded and a text's vector
// does not depend on its neighbours beyond rounding.
at::Tensor BertMeans(const Bert& bert, const std::vector<std::vector<int32_t>>& texts,
                     int64_t batch_tokens = 4096);

}  // namespace mixrec::model
