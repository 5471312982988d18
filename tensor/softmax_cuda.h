// Rows of a softmax on the GPU: what SoftmaxGradientRows (softmax_rows.h) does on the CPU.
#pragma once

#include <ATen/ATen.h>

namespace mixrec::tensor::cuda {

// logits [rows, items] fp32, still without bias [items], and labels [rows] int64, weights [rows]
// fp32 give losses [rows], the cross-entropies, and weights * (softmax - onehot(label)) in
// d_logits [rows, items], fp32 or bf16; `d_logits` may be `logits`. One sweep for maximum and sum,
// one for the gradient.
void SoftmaxGradientRows(const at::Tensor& logits, const at::Tensor& bias, const at::Tensor& labels,
                         const at::Tensor& weights, at::Tensor losses, at::Tensor d_logits);

}  // namespace mixrec::tensor::cuda
