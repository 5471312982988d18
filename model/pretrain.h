// Pre-training of a small OPT-architecture language model on item texts, for those who have no
// checkpoint at hand. The result is a backbone in the Hugging Face layout.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/status.h"
#include "model/backbone.h"

namespace mixrec::model {

// Distillation towards a sentence encoder, beside the language model's loss: sequences of some
// texts, each cut and followed by [SEQ], whose states see half causally and half inside their text
// alone (a DAMoE layer whose gate says 1/2). A linear head on a text's [SEQ] state is drawn to the
// encoder's vector of the text: weight * (1 - cos), and the cross-entropy of finding the vector
// among those of the step by cos / temperature.
struct DistillOptions {
  int64_t sequences = 96;  // a step
  int64_t texts = 3;       // a sequence
  int64_t text_tokens = 30;
  double weight = 4;
  double contrast_weight = 1;
  double temperature = 0.07;
};

struct PretrainOptions {
  // Shape.
  int64_t hidden = 128;
  int64_t layers = 2;
  int64_t heads = 0;  // 0: hidden / 64, at least 1
  int64_t ffn = 0;    // 0: 4 * hidden
  int64_t max_positions = 2048;

  // Training. An epoch sees every token once, in sequences of `context` tokens.
  int64_t epochs = 3;
  int64_t batch = 16;           // sequences a step
  int64_t context = 192;        // tokens a sequence
  double learning_rate = 1e-3;  // peak; linear warm-up over 6 % of the steps, then cosine
  double weight_decay = 0.1;
  double beta1 = 0.9, beta2 = 0.98;
  double clip_norm = 1.0;
  double dropout = 0.1;             // on the embeddings' sum and both residual branches
  double offset_probability = 0.5;  // of a sequence to start at a random position, so that
                                    // positions beyond `context` are trained too
  uint64_t seed = 1;
  DistillOptions distill;  // where the inputs have targets

  at::Device device = at::kCPU;
  at::ScalarType compute_dtype = at::kFloat;  // of the products; parameters stay fp32
  at::ScalarType output_dtype = at::kFloat;   // of the written checkpoint
  bool resume = true;              // go on from OUT/pretrain_state.safetensors, if it is there
  int64_t checkpoint_every = 500;  // steps between saves of the state; 0: only on a stop request
};

// What to train on.
struct PretrainInputs {
  std::vector<std::vector<int32_t>> documents;  // token ids of the language model's texts
  // Token ids of the texts that are distilled, and [distilled, E] fp32, rows of length 1, what each
  // is drawn to; undefined: no distillation.
  std::vector<std::vector<int32_t>> distilled;
  at::Tensor targets;
  // [vocabulary, D] fp32, start of the word embedding; rows of NaN, or none at all, start at
  // random.
  at::Tensor word_start;
};

struct PretrainProgress {
  int64_t step = 0, steps = 0;  // done, in all
  double loss = 0;              // cross-entropy of this step, nats a token
  double distill_loss = 0;      // of this step, where there are targets
  double distill_cosine = 0;    // mean cosine of head and target
  double learning_rate = 0;
  double tokens_per_second = 0;  // since the start of this process
};

// The shape that the options give for a vocabulary. UsageError names a wrong option.
absl::StatusOr<OptConfig> PretrainConfig(const PretrainOptions& options, int64_t vocab_size);

// Number of optimiser steps for documents with this many tokens in all, separators included.
int64_t PretrainSteps(const PretrainOptions& options, int64_t tokens);

// Trains on the documents, which are shuffled every epoch and joined with </s> (id 2), and writes
// the backbone to `folder`. With epochs = 0 the initial weights are written. With targets, the
// backbone keeps the trained [SEQ] vector (Backbone::sequence_start).
//
// A stop request (common/stop_signal.h) saves the state to folder/pretrain_state.safetensors and
// returns StoppedError; the same call goes on from there, on the CPU to bit-equal weights for the
// same number of threads. A state of other options, documents or vocabulary is a UsageError.
absl::Status Pretrain(const PretrainOptions& options, int64_t vocab_size,
                      const PretrainInputs& inputs, const std::string& folder,
                      const std::function<void(const PretrainProgress&)>& progress);

}  // namespace mixrec::model
