// The language model under pre-training: parameters in one flat buffer, gradients by LibTorch's
// autograd. Private to the room.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "model/backbone.h"
#include "model/pretrain.h"
#include "model/pretrain_batches.h"

namespace mixrec::model {

class PretrainModel {
 public:
  // Starts from the values of `initial` (fp32).
  PretrainModel(const PretrainOptions& options, const Backbone& initial);

  // Mean cross-entropy of a batch; leaves its gradient in gradient(). Dropout is keyed by
  // (seed, step).
  double LossAndGradient(const PretrainBatch& batch, int64_t step);

  const Backbone& backbone() const { return parameters_; }  // views of value()
  at::Tensor value() const { return value_; }               // [size] fp32
  at::Tensor gradient() const { return gradient_; }         // [size] fp32

 private:
  at::Tensor States(const PretrainBatch& batch) const;
  at::Tensor Layer(const OptLayer& layer, const at::Tensor& x) const;
  at::Tensor Attention(const OptLayer& layer, const at::Tensor& a) const;
  at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) const;
  at::Tensor Norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) const;
  at::Tensor Dropout(const at::Tensor& x) const;

  PretrainOptions options_;
  at::Tensor value_, gradient_;
  Backbone parameters_;  // leaves of the graph
};

}  // namespace mixrec::model
