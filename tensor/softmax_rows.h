// Private to tensor/: the row-wise part of the CPU's softmax.
#pragma once

#include <cstdint>

namespace mixrec::tensor {

// In place, row by row: logits [rows, items] become weights[row] * (softmax - onehot(labels[row]));
// losses [rows] get the cross-entropies. Logits must be finite. Multi-threaded over rows.
void SoftmaxGradientRows(int64_t rows, int64_t items, const int64_t* labels, const float* weights,
                         float* logits, float* losses);

// A block of columns of a softmax whose other columns are elsewhere, or come later. In place, row
// by row: logits [rows, columns], still without bias, become exp(z - maximum), where z is logit +
// bias[column], or logit + label_bias[row] in the row's label column (labels[row] - first_column,
// if in the block). `maximum` and `sum` [rows] run over the blocks: maximum grows, scale[row] =
// exp(old - new) is what older sums and numerators must be multiplied by, and sum is. label_logits
// [rows] are written where the label is in the block. Exponentials below e^-70 become 0: products
// with smaller ones are subnormal and slow. Logits must be finite. Multi-threaded over rows.
void ExponentialRows(int64_t rows, int64_t columns, int64_t first_column, const float* bias,
                     const int64_t* labels, const float* label_bias, float* logits, float* maximum,
                     float* scale, float* sum, float* label_logits);

}  // namespace mixrec::tensor
