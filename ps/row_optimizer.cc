#include "ps/row_optimizer.h"

#include <cmath>

namespace mixrec::ps {
namespace {

void SgdSpan(float decay, float learning_rate, int64_t size, const float* __restrict gradient,
             float* __restrict value) {
  for (int64_t i = 0; i < size; ++i) value[i] = value[i] * decay - learning_rate * gradient[i];
}

void AdagradSpan(float epsilon, float learning_rate, int64_t size, const float* __restrict gradient,
                 float* __restrict value, float* __restrict sum) {
  for (int64_t i = 0; i < size; ++i) {
    const float g = gradient[i];
    sum[i] += g * g;
    value[i] -= learning_rate * g / (std::sqrt(sum[i]) + epsilon);
  }
}

}  // namespace

tensor::AdamWOptions AdamWOptionsOf(const OptimizerOptions& options) {
  return {options.beta1, options.beta2, options.epsilon, options.weight_decay};
}

RowStepper::RowStepper(const OptimizerOptions& options, double learning_rate)
    : options_(options), learning_rate_(learning_rate) {}

const tensor::AdamWConstants& RowStepper::ConstantsOf(int64_t step) {
  const auto slot = static_cast<size_t>(step % kRemembered);
  if (remembered_steps_[slot] != step) {
    remembered_steps_[slot] = step;
    remembered_[slot] = {AdamWOptionsOf(options_), learning_rate_, step};
  }
  return remembered_[slot];
}

void RowStepper::Step(int64_t width, const float* gradient, float* row, int32_t* count) {
  Step(width, ++*count, gradient, row, row + width, row + 2 * width);
}

void RowStepper::Step(int64_t width, int64_t step, const float* gradient, float* value,
                      float* first, float* second) {
  const auto rate = static_cast<float>(learning_rate_);
  switch (options_.kind) {
    case Optimizer::kSgd:
      SgdSpan(static_cast<float>(1.0 - learning_rate_ * options_.weight_decay), rate, width,
              gradient, value);
      return;
    case Optimizer::kAdagrad:
      AdagradSpan(static_cast<float>(options_.epsilon), rate, width, gradient, value, first);
      return;
    case Optimizer::kAdamW:
      tensor::AdamWSpan(ConstantsOf(step), width, gradient, value, first, second);
      return;
  }
}

}  // namespace mixrec::ps
