// Private to tensor/: the row-wise part of the CPU's softmax.
#pragma once

#include <cstdint>

namespace mixrec::tensor {

// In place, row by row: logits [rows, items] become weights[row] * (softmax - onehot(labels[row]));
// losses [rows] get the cross-entropies. Logits must be finite. Multi-threaded over rows.
void SoftmaxGradientRows(int64_t rows, int64_t items, const int64_t* labels, const float* weights,
                         float* logits, float* losses);

}  // namespace mixrec::tensor
