// Softmax cross-entropy over some of the columns, to be combined with the others': what a shard
// computes of a softmax over a vocabulary that is spread over shards (ps.md). Logits exist a block
// at a time.
//
// N states, J columns here, D hidden width.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace mixrec::tensor {

// All on one device, fp32.
struct SoftmaxColumns {
  at::Tensor weight;         // [J, D], rows contiguous
  at::Tensor bias;           // [J]
  at::Tensor label_columns;  // [N] int64; -1: the label is elsewhere
  // [N] bias of a state's label in its own softmax (anything where the label is elsewhere). Equal
  // to bias[label] but in a sampled softmax, where only other states' labels are corrected.
  at::Tensor label_bias;
};

// Maximum of no columns: finite, so that differences are numbers.
inline constexpr float kNoMaximum = -1e38f;

struct PartialSoftmax {
  at::Tensor maximum;       // [N] m; kNoMaximum without columns
  at::Tensor sum;           // [N] l = sum_j exp(z_j - m)
  at::Tensor label_logits;  // [N]; NaN where the label is elsewhere
  at::Tensor numerators;    // [N, D] sum_j exp(z_j - m) W_j
};

// The exponentials of a forward pass, for its backward pass.
struct KeptExponentials {
  struct Block {
    at::Tensor exponentials, maximum;  // [n, j], [n]
  };
  std::vector<Block> blocks;
};

// Logits of a block, at most.
inline int64_t BlockElements(const at::Tensor& states) {
  return states.is_cuda() ? int64_t{1} << 26 : int64_t{1} << 21;
}

// states [N, D] contiguous. With `kept`, all exponentials are kept there: N * J floats.
PartialSoftmax PartialSoftmaxForward(const at::Tensor& states, const SoftmaxColumns& columns,
                                     int64_t block_elements, KeptExponentials* kept);

// Adds the gradients of sum_n weights[n] * cross-entropy[n] to d_weight [J, D] and d_bias [J],
// given the log_sum_exp [N] of all columns. Without `kept` (null or empty) the exponentials are
// made again, and the result is the same bit for bit if weight, bias and block_elements are.
void PartialSoftmaxBackward(const at::Tensor& states, const SoftmaxColumns& columns,
                            const at::Tensor& log_sum_exp, const at::Tensor& weights,
                            int64_t block_elements, const KeptExponentials* kept,
                            at::Tensor d_weight, at::Tensor d_bias);

}  // namespace mixrec::tensor
