// The batches and losses of distillation while pre-training (pretrain.h). Private to the room.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "model/pretrain.h"

namespace mixrec::model {

// B sequences of at most T tokens, filled up with padding that sees only itself.
struct DistillBatch {
  at::Tensor inputs;         // [B, T] int64; `vocabulary` stands for [SEQ]
  at::Tensor positions;      // [B, T] int64, rows of the position table
  at::Tensor causal;         // [B, 1, T, T] bool: what a row sees causally
  at::Tensor context;        // [B, 1, T, T] bool: what it sees inside its text
  at::Tensor sequence_rows;  // [M] int64: rows of [SEQ] in the flattened [B T]
  at::Tensor documents;      // [M] int64: the texts they close
};

// Texts are drawn without repetition until all have been met; everything is a pure function of
// (seed, step).
class DistillBatches {
 public:
  // Keeps references.
  DistillBatches(const PretrainOptions& options, const PretrainInputs& inputs, int64_t vocabulary);
  DistillBatch At(int64_t step);

 private:
  // The k-th text drawn since the start.
  int64_t Text(int64_t k);

  const PretrainOptions& options_;
  const PretrainInputs& inputs_;
  int64_t vocabulary_;
  int64_t round_ = -1;
  std::vector<int64_t> order_;  // of the round
};

struct DistillLoss {
  at::Tensor loss;    // scalar, with its graph
  at::Tensor cosine;  // scalar, the mean
};

// heads, targets [M, E] fp32, targets of length 1.
DistillLoss DistillationLoss(const DistillOptions& options, const at::Tensor& heads,
                             const at::Tensor& targets);

}  // namespace mixrec::model
