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

float ExpOrZero(float x) { return x < -70.0f ? 0.0f : ExpOfNonPositive(x); }

float AddBias(int64_t columns, const float* __restrict bias, float* __restrict logits) {
  float largest = logits[0] + bias[0];
  for (int64_t j = 0; j < columns; ++j) {
    logits[j] += bias[j];
    largest = std::max(largest, logits[j]);
  }
  return largest;
}

float Exponentiate(int64_t columns, float maximum, float* logits) {
  float sum = 0.0f;
  for (int64_t j = 0; j < columns; ++j) {
    logits[j] = ExpOrZero(logits[j] - maximum);
    sum += logits[j];
  }
  return sum;
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

void ExponentialRows(int64_t rows, int64_t columns, int64_t first_column, const float* bias,
                     const int64_t* labels, const float* label_bias, float* logits, float* maximum,
                     float* scale, float* sum, float* label_logits) {
  at::parallel_for(0, rows, 8, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      float* z = logits + row * columns;
      const int64_t label = labels[row] - first_column;
      const bool here = label >= 0 && label < columns;
      const float label_logit = here ? z[label] + label_bias[row] : 0.0f;
      float largest = std::max(maximum[row], AddBias(columns, bias, z));
      if (here) {
        z[label] = label_logits[row] = label_logit;
        largest = std::max(largest, label_logit);
      }
      scale[row] = ExpOrZero(maximum[row] - largest);
      maximum[row] = largest;
      sum[row] = sum[row] * scale[row] + Exponentiate(columns, largest, z);
    }
  });
}

}  // namespace mixrec::tensor
