#include "model/attention_cpu_head.h"

#include <algorithm>
#include <cmath>

#include "model/small_gemm.h"
#include "tensor/exp.h"

namespace mixrec::model::cpu {
namespace {

constexpr int64_t kQueryBlock = 24;

// In place over the first `seen` scores; the rest, up to `length`, become 0. Returns log sum exp.
float Softmax(float* scores, int64_t seen, int64_t length) {
  float largest = scores[0];
  for (int64_t j = 1; j < seen; ++j) largest = std::max(largest, scores[j]);
  float sum = 0.0f;
  for (int64_t j = 0; j < seen; ++j) {
    scores[j] = tensor::ExpOfNonPositive(scores[j] - largest);
    sum += scores[j];
  }
  const float inverse = 1.0f / sum;
  for (int64_t j = 0; j < seen; ++j) scores[j] *= inverse;
  std::fill(scores + seen, scores + length, 0.0f);
  return largest + std::log(sum);
}

}  // namespace

AttentionHead::AttentionHead(const AttentionInputs& inputs, const AttentionLayout& layout,
                             int64_t head, int64_t longest)
    : width_(inputs.q.size(1) / inputs.heads),
      padded_(Padded(width_)),
      scale_(1.0f / std::sqrt(static_cast<float>(width_))),
      q_(inputs.q, head, width_),
      k_(inputs.k, head, width_),
      v_(inputs.v, head, width_),
      query_rows_(layout.query_rows.data_ptr<int32_t>()),
      key_stride_(Padded(longest)) {
  if (inputs.column_k.defined()) {
    column_k_ = Slice(inputs.column_k, head, width_);
    column_v_ = Slice(inputs.column_v, head, width_);
  }
  keys_transposed_.resize(static_cast<size_t>(width_ * key_stride_));
  values_.resize(static_cast<size_t>(longest * padded_));
  queries_.resize(kQueryBlock * padded_);
  scores_.resize(static_cast<size_t>(kQueryBlock * key_stride_));
  block_.resize(kQueryBlock * padded_);
}

template <typename Visit>
void AttentionHead::ForEachKey(const Segment& segment, const Slice& own, const Slice& columns,
                               Visit visit) const {
  int64_t key = 0;
  if (segment.causal) {
    for (int64_t row = 0; row < segment.prompt_rows; ++row) visit(key++, own.row(row));
  } else {
    for (; key < segment.shared; ++key) visit(key, columns.row(segment.columns[key]));
  }
  for (int64_t row = segment.key_begin; row < segment.key_end; ++row) visit(key++, own.row(row));
}

void AttentionHead::Forward(const Segment& segment, Slice out, float* log_sum_exp,
                            int64_t lse_stride) {
  if (segment.query_begin == segment.query_end) return;
  GatherTransposed(segment, k_, column_k_, &keys_transposed_);
  Gather(segment, v_, column_v_, &values_);
  for (int64_t begin = segment.query_begin; begin < segment.query_end; begin += kQueryBlock) {
    const int64_t end = std::min(begin + kQueryBlock, segment.query_end);
    const int64_t seen = Seen(segment, end - 1);
    ScoreBlock(begin, end, seen);
    for (int64_t i = begin; i < end; ++i) {
      log_sum_exp[i * lse_stride] =
          Softmax(&scores_[(i - begin) * key_stride_], Seen(segment, i), Padded(seen));
    }
    SmallGemm<false>(end - begin, padded_, seen, scores_.data(), key_stride_, 1, values_.data(),
                     padded_, block_.data(), padded_);
    for (int64_t i = begin; i < end; ++i) {
      std::copy_n(&block_[(i - begin) * padded_], width_, out.row(i));
    }
  }
}

void AttentionHead::Backward(const Segment& segment, const BackwardSlices& s) {
  if (segment.query_begin == segment.query_end) return;
  const int64_t keys = segment.keys();
  keys_.resize(values_.size());
  values_transposed_.resize(keys_transposed_.size());
  d_scores_.resize(scores_.size());
  d_outs_.resize(block_.size());
  d_keys_.assign(static_cast<size_t>(keys * padded_), 0.0f);
  d_values_.assign(static_cast<size_t>(keys * padded_), 0.0f);
  GatherTransposed(segment, k_, column_k_, &keys_transposed_);
  GatherTransposed(segment, v_, column_v_, &values_transposed_);
  Gather(segment, k_, column_k_, &keys_);
  for (int64_t begin = segment.query_begin; begin < segment.query_end; begin += kQueryBlock) {
    BackwardBlock(segment, s, begin, std::min(begin + kQueryBlock, segment.query_end));
  }
  Scatter(segment, d_keys_, s.d_k, s.d_column_k);
  Scatter(segment, d_values_, s.d_v, s.d_column_v);
}

// How many of the segment's keys query i sees: they are ordered so that these come first.
int64_t AttentionHead::Seen(const Segment& segment, int64_t i) const {
  if (!segment.causal) return segment.keys();
  return segment.shared + query_rows_[i] - segment.key_begin + 1;
}

void AttentionHead::Gather(const Segment& segment, const Slice& own, const Slice& columns,
                           std::vector<float>* to) const {
  ForEachKey(segment, own, columns, [&](int64_t key, const float* from) {
    std::copy_n(from, width_, to->data() + key * padded_);
  });
}

void AttentionHead::GatherTransposed(const Segment& segment, const Slice& own, const Slice& columns,
                                     std::vector<float>* to) const {
  ForEachKey(segment, own, columns, [&](int64_t key, const float* from) {
    float* column = to->data() + key;
    for (int64_t c = 0; c < width_; ++c) column[c * key_stride_] = from[c];
  });
}

void AttentionHead::Scatter(const Segment& segment, const std::vector<float>& from,
                            const Slice& own, const Slice& columns) const {
  ForEachKey(segment, own, columns, [&](int64_t key, float* to) {
    const float* source = from.data() + key * padded_;
    for (int64_t c = 0; c < width_; ++c) to[c] += source[c];
  });
}

// scores_ [end - begin, seen] = scaled queries times keys.
void AttentionHead::ScoreBlock(int64_t begin, int64_t end, int64_t seen) {
  for (int64_t i = begin; i < end; ++i) {
    const float* from = q_.row(i);
    float* to = &queries_[(i - begin) * padded_];
    for (int64_t c = 0; c < width_; ++c) to[c] = from[c] * scale_;
  }
  SmallGemm<false>(end - begin, Padded(seen), width_, queries_.data(), padded_, 1,
                   keys_transposed_.data(), key_stride_, scores_.data(), key_stride_);
}

void AttentionHead::BackwardBlock(const Segment& segment, const BackwardSlices& s, int64_t begin,
                                  int64_t end) {
  const int64_t rows = end - begin;
  const int64_t seen = Seen(segment, end - 1);
  const int64_t length = Padded(seen);
  ScoreBlock(begin, end, seen);
  for (int64_t i = begin; i < end; ++i) {
    std::copy_n(s.d_out.row(i), width_, &d_outs_[(i - begin) * padded_]);
  }
  SmallGemm<false>(rows, length, width_, d_outs_.data(), padded_, 1, values_transposed_.data(),
                   key_stride_, d_scores_.data(), key_stride_);
  for (int64_t i = begin; i < end; ++i) {
    ScoreGradient(s, i, begin, Seen(segment, i), length);
  }
  SmallGemm<true>(seen, padded_, rows, scores_.data(), 1, key_stride_, d_outs_.data(), padded_,
                  d_values_.data(), padded_);
  SmallGemm<true>(seen, padded_, rows, d_scores_.data(), 1, key_stride_, queries_.data(), padded_,
                  d_keys_.data(), padded_);
  SmallGemm<false>(rows, padded_, seen, d_scores_.data(), key_stride_, 1, keys_.data(), padded_,
                   block_.data(), padded_);
  for (int64_t i = begin; i < end; ++i) {
    const float* from = &block_[(i - begin) * padded_];
    float* to = s.d_q.row(i);
    for (int64_t c = 0; c < width_; ++c) to[c] += from[c] * scale_;
  }
}

// scores_ becomes the probabilities, d_scores_ the gradient of the scaled scores, of query i.
void AttentionHead::ScoreGradient(const BackwardSlices& s, int64_t i, int64_t begin, int64_t seen,
                                  int64_t length) {
  const float* out = s.out.row(i);
  const float* d_out = s.d_out.row(i);
  float delta = 0.0f;
  for (int64_t c = 0; c < width_; ++c) delta += out[c] * d_out[c];
  const float lse = s.log_sum_exp[i * s.lse_stride];
  float* p = &scores_[(i - begin) * key_stride_];
  float* d = &d_scores_[(i - begin) * key_stride_];
  for (int64_t j = 0; j < seen; ++j) {
    p[j] = tensor::ExpOfNonPositive(std::min(p[j] - lse, 0.0f));
    d[j] = p[j] * (d[j] - delta);
  }
  std::fill(p + seen, p + length, 0.0f);
  std::fill(d + seen, d + length, 0.0f);
}

}  // namespace mixrec::model::cpu
