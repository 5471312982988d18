// The language model under pre-training: parameters in one flat buffer, gradients by LibTorch's
// autograd. Private to the room.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "model/backbone.h"
#include "model/pretrain.h"
#include "model/pretrain_batches.h"
#include "model/pretrain_distill.h"

namespace mixrec::model {

class PretrainModel {
 public:
  // Starts from the values of `initial` (fp32). With `targets` [documents, E] there are a [SEQ]
  // vector, which starts at </s>, and the head of the distillation too.
  PretrainModel(const PretrainOptions& options, const Backbone& initial, const at::Tensor& targets);

  // Mean cross-entropy of a batch; leaves its gradient in gradient(). Dropout is keyed by
  // (seed, step).
  double LossAndGradient(const PretrainBatch& batch, int64_t step);
  // Adds the gradient of the distillation; its loss and mean cosine.
  std::pair<double, double> AddDistillation(const DistillBatch& batch);

  const Backbone& backbone() const { return parameters_; }  // views of value()
  at::Tensor value() const { return value_; }               // [size] fp32
  at::Tensor gradient() const { return gradient_; }         // [size] fp32

 private:
  // The two attentions of a distilled sequence, which are averaged; null: causal alone.
  struct Masks {
    at::Tensor causal, context;
  };
  std::vector<at::Tensor*> Members();
  at::Tensor States(const at::Tensor& embedded, const Masks* masks) const;  // to [B T, D]
  at::Tensor Layer(const OptLayer& layer, const at::Tensor& x, const Masks* masks) const;
  at::Tensor Attention(const OptLayer& layer, const at::Tensor& a, const Masks* masks) const;
  at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) const;
  at::Tensor Norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) const;
  at::Tensor Dropout(const at::Tensor& x) const;

  PretrainOptions options_;
  at::Tensor value_, gradient_;
  Backbone parameters_;                 // leaves of the graph
  at::Tensor head_weight_, head_bias_;  // [E, D], [E], leaves too
  at::Tensor targets_;                  // [documents, E]
};

}  // namespace mixrec::model
