#include "tensor/partial_softmax.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/log.h"
#include "tensor/softmax_rows.h"

namespace mixrec::tensor {
namespace {

constexpr int64_t kMostStates =
    1024;  // of a block: enough to reuse each weight while it is in cache

struct Span {
  int64_t first, count;
};

Span Cut(int64_t first, int64_t size, int64_t total) {
  return {first, std::min(size, total - first)};
}

// The states of a block of rows, and what runs over the blocks of columns.
struct Chunk {
  at::Tensor states, labels, label_bias;         // [n, D], [n], [n]
  at::Tensor maximum, sum, label_logits, scale;  // [n]
};

Chunk MakeChunk(const at::Tensor& states, const SoftmaxColumns& columns, Span rows) {
  const auto cut = [&](const at::Tensor& whole) { return whole.narrow(0, rows.first, rows.count); };
  const auto fill = [&](float value) { return at::full({rows.count}, value, states.options()); };
  return {cut(states),
          cut(columns.label_columns),
          cut(columns.label_bias),
          fill(kNoMaximum),
          fill(0.0f),
          fill(std::numeric_limits<float>::quiet_NaN()),
          fill(0.0f)};
}

int64_t BlockColumns(int64_t states, int64_t columns, int64_t block_elements) {
  // Multiples of 16 keep every block's first weight aligned as the table is.
  const int64_t fit = block_elements / std::max<int64_t>(1, states) / 16 * 16;
  return std::max<int64_t>(1, std::min(columns, std::max<int64_t>(16, fit)));
}

// Exponentials of logits [n, j] without bias, in place.
void ExponentialsOnDevice(const at::Tensor& bias, int64_t first, at::Tensor z, Chunk* chunk) {
  const at::Tensor column = chunk->labels - first;
  const at::Tensor here = column.ge(0).logical_and_(column.lt(z.size(1))).unsqueeze(1);
  const at::Tensor index = column.clamp(0, z.size(1) - 1).unsqueeze(1);
  const at::Tensor label_logits = z.gather(1, index) + chunk->label_bias.unsqueeze(1);
  z.add_(bias);
  z.scatter_(1, index, at::where(here, label_logits, z.gather(1, index)));
  chunk->label_logits = at::where(here.squeeze(1), label_logits.squeeze(1), chunk->label_logits);
  const at::Tensor maximum = at::maximum(chunk->maximum, z.amax(1));
  chunk->scale = (chunk->maximum - maximum).exp_();
  chunk->maximum = maximum;
  z.sub_(maximum.unsqueeze(1)).exp_();
  chunk->sum = chunk->sum * chunk->scale + z.sum(1);
}

void BlockExponentials(const SoftmaxColumns& columns, Span block, at::Tensor out, Chunk* chunk) {
  const at::Tensor weight = columns.weight.narrow(0, block.first, block.count);
  const at::Tensor bias = columns.bias.narrow(0, block.first, block.count);
  at::mm_out(out, chunk->states, weight.t());
  if (!out.is_cpu()) return ExponentialsOnDevice(bias, block.first, out, chunk);
  ExponentialRows(out.size(0), block.count, block.first, bias.data_ptr<float>(),
                  chunk->labels.data_ptr<int64_t>(), chunk->label_bias.data_ptr<float>(),
                  out.data_ptr<float>(), chunk->maximum.data_ptr<float>(),
                  chunk->scale.data_ptr<float>(), chunk->sum.data_ptr<float>(),
                  chunk->label_logits.data_ptr<float>());
}

void Check(const at::Tensor& states, const SoftmaxColumns& columns) {
  CHECK(states.is_contiguous() && states.scalar_type() == at::kFloat);
  CHECK_EQ(columns.weight.size(1), states.size(1));
  CHECK(columns.weight.stride(1) == 1 && columns.bias.is_contiguous());
  CHECK_EQ(columns.bias.numel(), columns.weight.size(0));
  CHECK(columns.label_columns.is_contiguous() && columns.label_columns.numel() == states.size(0));
  CHECK(columns.label_bias.is_contiguous() && columns.label_bias.numel() == states.size(0));
}

// d_weight -= w h and d_bias -= w in the label's row, state after state.
void SubtractLabels(const Chunk& chunk, const float* weights, at::Tensor d_weight,
                    at::Tensor d_bias) {
  const int64_t width = chunk.states.size(1);
  const auto* labels = chunk.labels.data_ptr<int64_t>();
  for (int64_t n = 0; n < chunk.states.size(0); ++n) {
    if (labels[n] < 0) continue;
    const float* state = chunk.states.data_ptr<float>() + n * width;
    float* row = d_weight.data_ptr<float>() + labels[n] * width;
    for (int64_t d = 0; d < width; ++d) row[d] -= weights[n] * state[d];
    d_bias.data_ptr<float>()[labels[n]] -= weights[n];
  }
}

// The block's part of the gradients. On the CPU the factors go into the states, which are fewer
// than the exponentials, and the labels follow at the end; on a GPU, where the order of scattered
// sums is not fixed, both go into the exponentials.
void BlockGradient(const Chunk& chunk, const at::Tensor& exponentials, const at::Tensor& maximum,
                   const at::Tensor& log_sum_exp, const at::Tensor& weights, int64_t first,
                   at::Tensor d_weight, at::Tensor d_bias) {
  const at::Tensor factor = (maximum - log_sum_exp).exp_().mul_(weights);
  if (exponentials.is_cpu()) {
    d_weight.addmm_(exponentials.t(), chunk.states * factor.unsqueeze(1));
    d_bias.addmv_(exponentials.t(), factor);
    return;
  }
  const at::Tensor gradient = exponentials * factor.unsqueeze(1);
  const at::Tensor column = chunk.labels - first;
  const at::Tensor here = column.ge(0).logical_and_(column.lt(gradient.size(1)));
  gradient.scatter_add_(1, column.clamp(0, gradient.size(1) - 1).unsqueeze(1),
                        at::where(here, weights.neg(), at::zeros_like(weights)).unsqueeze(1));
  d_weight.addmm_(gradient.t(), chunk.states);
  d_bias.add_(gradient.sum(0));
}

}  // namespace

PartialSoftmax PartialSoftmaxForward(const at::Tensor& states, const SoftmaxColumns& columns,
                                     int64_t block_elements, KeptExponentials* kept) {
  Check(states, columns);
  const int64_t total = columns.weight.size(0);
  PartialSoftmax result{at::empty({states.size(0)}, states.options()),
                        at::empty({states.size(0)}, states.options()),
                        at::empty({states.size(0)}, states.options()), at::zeros_like(states)};
  for (int64_t row = 0; row < states.size(0); row += kMostStates) {
    const Span rows = Cut(row, kMostStates, states.size(0));
    Chunk chunk = MakeChunk(states, columns, rows);
    at::Tensor numerators = result.numerators.narrow(0, rows.first, rows.count);
    const int64_t size = BlockColumns(rows.count, total, block_elements);
    const at::Tensor buffer = at::empty({rows.count * size}, states.options());
    for (int64_t column = 0; column < total; column += size) {
      const Span block = Cut(column, size, total);
      const at::Tensor out =
          kept != nullptr
              ? at::empty({rows.count, block.count}, states.options())
              : buffer.narrow(0, 0, rows.count * block.count).view({rows.count, block.count});
      BlockExponentials(columns, block, out, &chunk);
      numerators.mul_(chunk.scale.unsqueeze(1));
      numerators.addmm_(out, columns.weight.narrow(0, block.first, block.count));
      if (kept != nullptr) kept->blocks.push_back({out, chunk.maximum.clone()});
    }
    result.maximum.narrow(0, rows.first, rows.count).copy_(chunk.maximum);
    result.sum.narrow(0, rows.first, rows.count).copy_(chunk.sum);
    result.label_logits.narrow(0, rows.first, rows.count).copy_(chunk.label_logits);
  }
  return result;
}

void PartialSoftmaxBackward(const at::Tensor& states, const SoftmaxColumns& columns,
                            const at::Tensor& log_sum_exp, const at::Tensor& weights,
                            int64_t block_elements, const KeptExponentials* kept,
                            at::Tensor d_weight, at::Tensor d_bias) {
  Check(states, columns);
  CHECK(d_weight.is_contiguous() && d_weight.sizes() == columns.weight.sizes());
  CHECK(weights.is_contiguous() && weights.numel() == states.size(0));
  const int64_t total = columns.weight.size(0);
  if (total == 0) return;
  size_t next = 0;
  for (int64_t row = 0; row < states.size(0); row += kMostStates) {
    const Span rows = Cut(row, kMostStates, states.size(0));
    Chunk chunk = MakeChunk(states, columns, rows);
    const at::Tensor lse = log_sum_exp.narrow(0, rows.first, rows.count);
    const at::Tensor of_rows = weights.narrow(0, rows.first, rows.count);
    const int64_t size = BlockColumns(rows.count, total, block_elements);
    const bool again = kept == nullptr || kept->blocks.empty();
    const at::Tensor buffer = again ? at::empty({rows.count * size}, states.options()) : lse;
    for (int64_t column = 0; column < total; column += size) {
      const Span block = Cut(column, size, total);
      KeptExponentials::Block now;
      if (again) {
        now.exponentials =
            buffer.narrow(0, 0, rows.count * block.count).view({rows.count, block.count});
        BlockExponentials(columns, block, now.exponentials, &chunk);
        now.maximum = chunk.maximum;
      } else {
        now = kept->blocks.at(next++);
      }
      BlockGradient(chunk, now.exponentials, now.maximum, lse, of_rows, block.first,
                    d_weight.narrow(0, block.first, block.count),
                    d_bias.narrow(0, block.first, block.count));
    }
    if (states.is_cpu()) {
      SubtractLabels(chunk, of_rows.data_ptr<float>(), d_weight, d_bias);
    }
  }
}

}  // namespace mixrec::tensor
