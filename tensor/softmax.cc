#include "tensor/softmax.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "common/log.h"
#include "tensor/softmax_rows.h"

namespace mixrec::tensor {
namespace {

// Elements of a chunk of logits: 64 MiB of fp32 on the CPU, 256 MiB on a GPU.
int64_t ChunkRows(const at::Tensor& states, int64_t items) {
  const int64_t elements = states.is_cuda() ? int64_t{1} << 26 : int64_t{1} << 24;
  return std::max<int64_t>(16, elements / std::max<int64_t>(1, items));
}

// One chunk's logits become loss_weight * (softmax - onehot), in place; returns the
// cross-entropies.
at::Tensor LogitGradient(at::Tensor logits, const at::Tensor& labels, const at::Tensor& weights) {
  if (logits.is_cpu()) {
    at::Tensor losses = at::empty({logits.size(0)}, logits.options());
    SoftmaxGradientRows(logits.size(0), logits.size(1), labels.contiguous().data_ptr<int64_t>(),
                        weights.contiguous().data_ptr<float>(), logits.data_ptr<float>(),
                        losses.data_ptr<float>());
    return losses;
  }
  const at::Tensor log_sum_exp = logits.logsumexp(1, /*keepdim=*/true);
  const at::Tensor column = labels.unsqueeze(1);
  const at::Tensor loss = (log_sum_exp - logits.gather(1, column)).squeeze(1);
  logits.sub_(log_sum_exp).exp_();
  logits.scatter_add_(1, column, at::full({}, -1.0, logits.options()).expand(column.sizes()));
  logits.mul_(weights.unsqueeze(1));
  return loss;
}

}  // namespace

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
  const int64_t chunk = ChunkRows(states, weight.size(0));
  for (int64_t first = 0; first < rows; first += chunk) {
    const int64_t count = std::min(chunk, rows - first);
    const at::Tensor part = states.narrow(0, first, count);
    at::Tensor logits = ItemScores(part, weight, bias);
    losses.narrow(0, first, count)
        .copy_(LogitGradient(logits, labels.narrow(0, first, count),
                             loss_weights.narrow(0, first, count)));
    if (d_states == nullptr) continue;
    d_bias.add_(logits.sum(0));
    const at::Tensor d_logits = logits.to(states.scalar_type());
    d_states->narrow(0, first, count).copy_(at::mm(d_logits, weight));
    if (d_weight.scalar_type() == states.scalar_type()) {
      d_weight.addmm_(d_logits.t(), part);
    } else {
      d_weight.add_(at::mm(d_logits.t(), part));
    }
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

std::pair<at::Tensor, at::Tensor> TopK(const at::Tensor& scores, int64_t k) {
  const int64_t items = scores.size(1);
  k = std::min(k, items);
  if (scores.is_cuda()) {
    auto [values, indices] = scores.sort(/*stable=*/true, /*dim=*/1, /*descending=*/true);
    return {indices.narrow(1, 0, k).contiguous(), values.narrow(1, 0, k).contiguous()};
  }
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
