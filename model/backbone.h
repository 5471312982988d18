// A frozen OPT language model: its configuration, its weights, and how they are read from a
// checkpoint in the Hugging Face layout (config.json with model.safetensors, sharded safetensors
// with an index, or pytorch_model.bin).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"

namespace mixrec::model {

struct OptConfig {
  int64_t vocab_size = 0;
  int64_t hidden = 0;            // D, hidden_size
  int64_t layers = 0;            // num_hidden_layers
  int64_t heads = 0;             // num_attention_heads; head size = hidden / heads
  int64_t ffn = 0;               // F, ffn_dim
  int64_t max_positions = 0;     // max_position_embeddings; the table has 2 rows more
  int64_t word_width = 0;        // W, word_embed_proj_dim; differs from hidden in OPT-350M
  bool pre_layer_norm = true;    // do_layer_norm_before; false in OPT-350M
  bool final_layer_norm = true;  // pre-LN models, unless _remove_final_layer_norm

  int64_t head_size() const { return hidden / heads; }
};

// Weights are [out, in], as in the checkpoint. Every tensor lives on one device in one dtype.
struct OptLayer {
  at::Tensor qkv_weight, qkv_bias;  // [3D, D], [3D]: q, k, v one below the other
  at::Tensor out_weight, out_bias;  // [D, D], [D]
  at::Tensor fc1_weight, fc1_bias;  // [F, D], [F]
  at::Tensor fc2_weight, fc2_bias;  // [D, F], [D]
  at::Tensor ln1_weight, ln1_bias;  // [D] self_attn_layer_norm
  at::Tensor ln2_weight, ln2_bias;  // [D] final_layer_norm of the layer
};

struct Backbone {
  OptConfig config;
  at::Tensor word_embedding;                  // [vocab, W]
  at::Tensor position_embedding;              // [max_positions + 2, D]; row = position + 2
  at::Tensor project_in, project_out;         // [D, W], [W, D]; undefined when W == D
  at::Tensor final_ln_weight, final_ln_bias;  // [D]; undefined without a final layer norm
  // [W] fp32: where [SEQ] and [ALIGN] start; undefined: at </s>. Distilled
  // pre-training leaves it in special_tokens.safetensors.
  at::Tensor sequence_start;
  std::vector<OptLayer> layers;
  std::string content_hash;  // of config.json, the weight files and special_tokens.safetensors
};

// Reads config.json. DataError names the file and the field.
absl::StatusOr<OptConfig> ReadOptConfig(const std::string& folder);

// Memory of a backbone's tensors, in bytes; computed without allocating them.
int64_t BackboneBytes(const OptConfig& config, at::ScalarType dtype);

// Its tensors on `device`, values undefined.
Backbone AllocateBackbone(const OptConfig& config, at::Device device, at::ScalarType dtype);

// Every tensor of a checkpoint as a view into the backbone, under its name without the prefix
// "model.decoder.", bottom first; q, k and v are rows of qkv.
std::vector<std::pair<std::string, at::Tensor>> CheckpointTensors(const Backbone& backbone);

// MemoryError when `bytes` are more than the host has available; `what` needs them.
absl::Status CheckHostMemory(const std::string& what, int64_t bytes);

// Reads a checkpoint onto `device` as `dtype`. Missing, truncated, mismatched or malicious files
// give a DataError that names the file and the tensor; never a crash.
absl::StatusOr<Backbone> LoadBackbone(const std::string& folder, at::Device device,
                                      at::ScalarType dtype);

// Moves every tensor to `device`.
void MoveBackbone(at::Device device, Backbone* backbone);

// The unmodified language model, for tests and checks: slow and simple.
struct PlainForward {
  std::vector<at::Tensor> layer_inputs;  // before each layer, [T, D]
  at::Tensor last_hidden_state;          // [T, W]: after final layer norm and project_out
  at::Tensor logits;                     // [T, vocab]
};
// `ids`: 1 to max_positions token ids of one document, positions from 0. In the backbone's dtype.
PlainForward ForwardPlain(const Backbone& backbone, const std::vector<int64_t>& ids);

}  // namespace mixrec::model
