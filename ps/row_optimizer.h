// Optimisers of table rows in host memory: a row's values and moments lie next to each other.
//
// E row width.
#pragma once

#include <array>
#include <cstdint>

#include "ps/moments.h"
#include "ps/protocol.h"
#include "tensor/optimizer.h"

namespace mixrec::ps {

tensor::AdamWOptions AdamWOptionsOf(const OptimizerOptions& options);

// Steps rows at one learning rate. One thread.
//   SGD      w -= lr (g + decay w): torch.optim.SGD without momentum; decoupled decay is the same
//   Adagrad  s += g^2; w -= lr g / (sqrt(s) + epsilon): torch.optim.Adagrad; no decay
//   AdamW    tensor::AdamWSpan, with the row's own number of updates (model.md D33)
class RowStepper {
 public:
  RowStepper(const OptimizerOptions& options, double learning_rate);

  // `row` [(1 + moments) E]: values, then moments; `count` grows by one.
  void Step(int64_t width, const float* gradient, float* row, int32_t* count);
  // The same with values and moments at places of their own; `step` counts from 1. Moments that the
  // optimiser does not have are ignored.
  void Step(int64_t width, int64_t step, const float* gradient, float* value, float* first,
            float* second);

 private:
  const tensor::AdamWConstants& ConstantsOf(int64_t step);

  OptimizerOptions options_;
  double learning_rate_;
  // Bias corrections cost two powers: rows of the same age share them.
  static constexpr int64_t kRemembered = 64;
  std::array<int64_t, kRemembered> remembered_steps_{};
  std::array<tensor::AdamWConstants, kRemembered> remembered_;
};

}  // namespace mixrec::ps
