// AdamW over dense parameters: their moments beside them (model.md D30).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "model/parameters.h"
#include "model/safetensors.h"
#include "tensor/optimizer.h"

namespace mixrec::worker {

class DenseOptimizer {
 public:
  // Moments start at zero. Keeps the pointer.
  DenseOptimizer(const tensor::AdamWOptions& options, model::DenseParameters* parameters);

  // One step with the gradients as they are; `step` counts from 0. Refreshes the compute copy.
  void Step(int64_t step, double learning_rate);

  // The same for elements [first, last) of the flat buffers.
  void StepRange(int64_t step, double learning_rate, int64_t first, int64_t last);

  // The same with what changes from step to step on the device (tensor/device_step.h); the
  // gradients become zeros.
  void Step(const at::Tensor& schedule, const at::Tensor& total);
  void StepRange(const at::Tensor& schedule, const at::Tensor& total, int64_t first, int64_t last);

  at::Tensor first_moment() const { return first_moment_; }
  at::Tensor second_moment() const { return second_moment_; }
  // first_moment.NAME and second_moment.NAME of every tensor, as views.
  model::NamedTensors State() const;

 private:
  tensor::AdamWOptions options_;
  model::DenseParameters* parameters_;
  at::Tensor first_moment_, second_moment_;  // [parameters] fp32
};

}  // namespace mixrec::worker
