#include "tensor/softmax_rows.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "tensor/exp.h"

namespace mixrec::tensor {
namespace {

float SoftmaxGradientRow(int64_t items, int64_t label, float weight, float* logits) {
  float largest = logits[0];
  for (int64_t j = 1; j < items; ++j) largest = std::max(largest, logits[j]);
  const float label_logit = logits[label];
  float sum = 0.0f;
  for (int64_t j = 0; j < items; ++j) {
    logits[j] = ExpOfNonPositive(logits[j] - largest);
    sum += logits[j];
  }
  const float scale = weight / sum;
  for (int64_t j = 0; j < items; ++j) logits[j] *= scale;
  logits[label] -= weight;
  return std::log(sum) + largest - label_logit;
}

}  // namespace

void SoftmaxGradientRows(int64_t rows, int64_t items, const int64_t* labels, const float* weights,
                         float* logits, float* losses) {
  at::parallel_for(0, rows, 1, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      losses[row] = SoftmaxGradientRow(items, labels[row], weights[row], logits + row * items);
    }
  });
}

}  // namespace mixrec::tensor
