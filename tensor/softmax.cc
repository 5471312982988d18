#include "tensor/softmax.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "common/log.h"
#include "tensor/products.h"
#include "tensor/softmax_rows.h"
#ifdef MIXREC_CUDA
#include "tensor/softmax_cuda.h"
#endif

namespace mixrec::tensor {
namespace {

// One chunk: logits, still without bias on a GPU, become loss_weight * (softmax - onehot) in the
// returned tensor of `type`; `losses` get the cross-entropies.
at::Tensor LogitGradient(const at::Tensor& logits, const at::Tensor& bias, const at::Tensor& labels,
                         const at::Tensor& weights, at::ScalarType type, at::Tensor losses) {
#ifdef MIXREC_CUDA
  if (logits.is_cuda()) {
    at::Tensor d_logits =
        type == at::kFloat ? logits : at::empty(logits.sizes(), logits.options().dtype(type));
    cuda::SoftmaxGradientRows(logits, bias, labels, weights, losses, d_logits);
    return d_logits;
  }
#endif
  logits.add_(bias);
  SoftmaxGradientRows(logits.size(0), logits.size(1), labels.contiguous().data_ptr<int64_t>(),
                      weights.contiguous().data_ptr<float>(), logits.data_ptr<float>(),
                      losses.data_ptr<float>());
  return logits.to(type);
}

// states weight^T in fp32.
at::Tensor Logits(const at::Tensor& states, const at::Tensor& weight) {
  if (states.is_cuda() && states.scalar_type() != at::kFloat) {
    return at::mm(states, weight.t(), at::kFloat);
  }
  return at::mm(states, weight.t()).to(at::kFloat);
}

}  // namespace

int64_t SoftmaxChunkRows(at::Device device, int64_t items) {
  const int64_t elements = device.is_cuda() ? int64_t{1} << 26 : int64_t{1} << 24;
  return std::max<int64_t>(16, elements / std::max<int64_t>(1, items));
}

at::Tensor ItemScores(const at::Tensor& states, const at::Tensor& weight, const at::Tensor& bias) {
  CHECK_EQ(states.size(1), weight.size(1));
  if (states.scalar_type() == at::kFloat) return at::addmm(bias, states, weight.t());
  if (states.is_cuda()) return at::mm(states, weight.t(), at::kFloat).add_(bias);
  return at::mm(states, weight.t()).to(at::kFloat).add_(bias);
}

at::Tensor SoftmaxCrossEntropy(const at::Tensor& states, const at::Tensor& weight,
                               const at::Tensor& bias, const at::Tensor& labels,
                               const at::Tensor& loss_weights, at::Tensor* d_states,
                               at::Tensor d_weight, at::Tensor d_bias) {
  const int64_t rows = states.size(0);
  CHECK_EQ(labels.numel(), rows);
  CHECK_EQ(loss_weights.numel(), rows);
  at::Tensor losses = at::zeros({rows}, bias.options());
  if (d_states != nullptr) *d_states = at::empty_like(states, at::MemoryFormat::Contiguous);
  const int64_t chunk = SoftmaxChunkRows(states.device(), weight.size(0));
  for (int64_t first = 0; first < rows; first += chunk) {
    const int64_t count = std::min(chunk, rows - first);
    const at::Tensor part = states.narrow(0, first, count);
    const at::Tensor d_logits = LogitGradient(
        Logits(part, weight), bias, labels.narrow(0, first, count),
        loss_weights.narrow(0, first, count), states.scalar_type(), losses.narrow(0, first, count));
    if (d_states == nullptr) continue;
    d_bias.add_(d_logits.sum(0, false, at::kFloat));
    InputGradient(d_logits, weight, {}, d_states->narrow(0, first, count));
    AddOuterProduct(d_logits, part, d_weight);
  }
  return losses;
}

at::Tensor RankOfTargets(const at::Tensor& scores, const at::Tensor& targets,
                         const at::Tensor& exclude) {
  const at::Tensor column = targets.unsqueeze(1);
  const at::Tensor target_score = scores.gather(1, column);
  const at::Tensor index = at::arange(scores.size(1), targets.options()).unsqueeze(0);
  // NaN counts against the target, whoever has it.
  at::Tensor ahead = scores.le(target_score).logical_not();
  ahead.logical_or_(scores.eq(target_score).logical_and_(index.lt(column)));
  if (exclude.defined()) ahead.logical_and_(exclude.logical_not());
  ahead.scatter_(1, column, at::zeros_like(column, ahead.options()));
  return ahead.sum(1) + 1;
}

// A score's bits as an integer of the same order, then the item's index, descending: the largest
// keys are the best items, the smaller index first among equals.
std::pair<at::Tensor, at::Tensor> TopKByKeys(const at::Tensor& scores, int64_t k) {
  const int64_t last = scores.size(1) - 1;
  const at::Tensor bits = (scores + 0.0f).contiguous().view(at::kInt);  // -0 becomes 0
  const at::Tensor ordered = bits.bitwise_xor(bits.bitwise_right_shift(31).bitwise_and(0x7FFFFFFF));
  const at::Tensor behind = at::arange(last, -1, -1, scores.options().dtype(at::kLong));
  const at::Tensor keys = ordered.to(at::kLong).bitwise_left_shift(32).bitwise_or(behind);
  const at::Tensor best = std::get<0>(keys.topk(k, /*dim=*/1));
  const at::Tensor items = at::rsub(best.bitwise_and(0xFFFFFFFF), last);
  return {items, scores.gather(1, items)};
}

std::pair<at::Tensor, at::Tensor> TopK(const at::Tensor& scores, int64_t k) {
  const int64_t items = scores.size(1);
  k = std::min(k, items);
  if (scores.is_cuda()) return TopKByKeys(scores, k);
  const at::Tensor from = scores.contiguous();
  at::Tensor indices = at::empty({scores.size(0), k}, at::kLong);
  at::parallel_for(0, scores.size(0), 1, [&](int64_t first, int64_t last) {
    std::vector<int64_t> order(static_cast<size_t>(items));
    for (int64_t row = first; row < last; ++row) {
      const float* score = from.data_ptr<float>() + row * items;
      std::iota(order.begin(), order.end(), int64_t{0});
      std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](int64_t a, int64_t b) {
        return score[a] != score[b] ? score[a] > score[b] : a < b;
      });
      std::copy_n(order.begin(), k, indices.data_ptr<int64_t>() + row * k);
    }
  });
  return {indices, from.gather(1, indices)};
}

}  // namespace mixrec::tensor
