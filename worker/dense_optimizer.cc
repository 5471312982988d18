#include "worker/dense_optimizer.h"

#include <string>

#include "tensor/device_step.h"

namespace mixrec::worker {

DenseOptimizer::DenseOptimizer(const tensor::AdamWOptions& options,
                               model::DenseParameters* parameters)
    : options_(options),
      parameters_(parameters),
      first_moment_(at::zeros_like(parameters->flat_value())),
      second_moment_(at::zeros_like(parameters->flat_value())) {}

void DenseOptimizer::Step(int64_t step, double learning_rate) {
  tensor::AdamWStep(options_, learning_rate, step + 1, parameters_->flat_gradient(),
                    parameters_->flat_value(), first_moment_, second_moment_);
  parameters_->RefreshCompute();
}

void DenseOptimizer::StepRange(int64_t step, double learning_rate, int64_t first, int64_t last) {
  const auto part = [&](const at::Tensor& flat) { return flat.narrow(0, first, last - first); };
  tensor::AdamWStep(options_, learning_rate, step + 1, part(parameters_->flat_gradient()),
                    part(parameters_->flat_value()), part(first_moment_), part(second_moment_));
  const at::Tensor copy = parameters_->flat_copy();
  if (copy.defined()) part(copy).copy_(part(parameters_->flat_value()));
}

void DenseOptimizer::Step(const at::Tensor& schedule, const at::Tensor& total) {
  StepRange(schedule, total, 0, parameters_->size());
}

void DenseOptimizer::StepRange(const at::Tensor& schedule, const at::Tensor& total, int64_t first,
                               int64_t last) {
  const auto part = [&](const at::Tensor& flat) {
    return flat.defined() ? flat.narrow(0, first, last - first) : flat;
  };
  tensor::AdamWStep(schedule, total, part(parameters_->flat_gradient()),
                    part(parameters_->flat_value()), part(first_moment_), part(second_moment_),
                    part(parameters_->flat_copy()));
}

model::NamedTensors DenseOptimizer::State() const {
  model::NamedTensors tensors;
  const auto append = [&](const std::string& prefix, const at::Tensor& flat) {
    for (const model::ParameterSpec& spec : parameters_->specs()) {
      const at::Tensor value = parameters_->value(spec.name);
      tensors.emplace_back(prefix + spec.name,  // moments lie as the flat values do
                           flat.as_strided(value.sizes(), value.strides(), value.storage_offset()));
    }
  };
  append("first_moment.", first_moment_);
  append("second_moment.", second_moment_);
  return tensors;
}

}  // namespace mixrec::worker
