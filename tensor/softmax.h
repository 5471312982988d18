// Cross-entropy over all rows of the item projection, in chunks: the [N, I] logits never exist at
// once (paper Sec. 2.2.2, 2.2.3).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <utility>

namespace mixrec::tensor {

// logits = states weight^T + bias; row n contributes loss_weights[n] * -log
// softmax(logits[n])[labels[n]].
//   states [N, D]; weight [I, D] of the same dtype; bias [I] fp32; labels [N] int64; loss_weights
//   [N] fp32.
// Returns the unweighted cross-entropies [N] fp32. With `d_states` set, also writes d loss / d
// states
// ([N, D], dtype of states) and adds d loss / d weight, d bias into fp32 `d_weight` [I, D],
// `d_bias` [I].
at::Tensor SoftmaxCrossEntropy(const at::Tensor& states, const at::Tensor& weight,
                               const at::Tensor& bias, const at::Tensor& labels,
                               const at::Tensor& loss_weights, at::Tensor* d_states,
                               at::Tensor d_weight, at::Tensor d_bias);

// States whose logits [rows, items] exist at once: 64 MiB of fp32 on a CPU, 256 MiB on a GPU, and
// no fewer than 16 rows.
int64_t SoftmaxChunkRows(at::Device device, int64_t items);

// Scores of all items, chunked over states by the caller: [N, I] fp32.
at::Tensor ItemScores(const at::Tensor& states, const at::Tensor& weight, const at::Tensor& bias);

// 1-based rank of targets [N] int64 among scores [N, I]; ties are ranked by smaller index first
// (model.md D31). Items with exclude mask true [N, I] (may be undefined) other than the target do
// not count.
at::Tensor RankOfTargets(const at::Tensor& scores, const at::Tensor& targets,
                         const at::Tensor& exclude);

// The k best items of each row, best first, ties by smaller index: indices [N, k] int64 and scores.
std::pair<at::Tensor, at::Tensor> TopK(const at::Tensor& scores, int64_t k);

}  // namespace mixrec::tensor
