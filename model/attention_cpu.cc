// Both attentions of a DAMoE layer on the CPU. A thread takes whole heads: the slices of a head are
// its own in every tensor, so nothing is locked and the sums do not depend on the number of
// threads.
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "model/kernels_cpu.h"
#include "model/small_gemm.h"
#include "tensor/exp.h"

namespace mixrec::model::cpu {
namespace {

constexpr int64_t kQueryBlock = 24;

// One head's slice of a row-major tensor.
struct Slice {
  float* data = nullptr;
  int64_t stride = 0;
  Slice() = default;
  Slice(const at::Tensor& tensor, int64_t head, int64_t width)
      : data(tensor.data_ptr<float>() + head * width), stride(tensor.stride(0)) {}
  float* row(int64_t index) const { return data + index * stride; }
};

// A stretch of queries with the same candidate keys: rows seen by all of them (columns, or the
// prompt), then own rows.
struct Segment {
  int64_t query_begin, query_end;
  int64_t key_begin, key_end;
  int64_t shared = 0;             // number of shared keys
  int64_t prompt_rows = 0;        // shared keys are rows [0, prompt_rows) ...
  int64_t columns[2] = {-1, -1};  // ... or these columns
  bool causal = false;
  int64_t keys() const { return shared + key_end - key_begin; }
};

Segment CausalSegment(const int32_t* row, int32_t prompt_rows) {
  Segment segment{row[0], row[1], row[2], row[3]};
  segment.causal = true;
  segment.prompt_rows = segment.shared = row[4] != 0 ? prompt_rows : 0;
  return segment;
}

Segment ContextSegment(const int32_t* row) {
  Segment segment{row[0], row[1], row[2], row[3]};
  segment.causal = false;
  for (int side = 0; side < 2; ++side) {
    if (row[4 + side] >= 0) segment.columns[segment.shared++] = row[4 + side];
  }
  return segment;
}

// Everything a thread needs for one head, sized for the longest segment.
class HeadWorker {
 public:
  HeadWorker(const AttentionInputs& inputs, const AttentionLayout& layout, int64_t head,
             int64_t longest)
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

  void Forward(const Segment& segment, Slice out, float* log_sum_exp, int64_t lse_stride) {
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

  struct BackwardSlices {
    Slice out, d_out, d_q, d_k, d_v, d_column_k, d_column_v;
    const float* log_sum_exp;
    int64_t lse_stride;
  };

  void Backward(const Segment& segment, const BackwardSlices& s) {
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

 private:
  // How many of the segment's keys query i sees: they are ordered so that these come first.
  int64_t Seen(const Segment& segment, int64_t i) const {
    if (!segment.causal) return segment.keys();
    return segment.shared + query_rows_[i] - segment.key_begin + 1;
  }

  template <typename Visit>
  void ForEachKey(const Segment& segment, const Slice& own, const Slice& columns,
                  Visit visit) const {
    int64_t key = 0;
    if (segment.causal) {
      for (int64_t row = 0; row < segment.prompt_rows; ++row) visit(key++, own.row(row));
    } else {
      for (; key < segment.shared; ++key) visit(key, columns.row(segment.columns[key]));
    }
    for (int64_t row = segment.key_begin; row < segment.key_end; ++row) visit(key++, own.row(row));
  }

  void Gather(const Segment& segment, const Slice& own, const Slice& columns,
              std::vector<float>* to) const {
    ForEachKey(segment, own, columns, [&](int64_t key, const float* from) {
      std::copy_n(from, width_, to->data() + key * padded_);
    });
  }

  void GatherTransposed(const Segment& segment, const Slice& own, const Slice& columns,
                        std::vector<float>* to) const {
    ForEachKey(segment, own, columns, [&](int64_t key, const float* from) {
      float* column = to->data() + key;
      for (int64_t c = 0; c < width_; ++c) column[c * key_stride_] = from[c];
    });
  }

  void Scatter(const Segment& segment, const std::vector<float>& from, const Slice& own,
               const Slice& columns) const {
    ForEachKey(segment, own, columns, [&](int64_t key, float* to) {
      const float* source = from.data() + key * padded_;
      for (int64_t c = 0; c < width_; ++c) to[c] += source[c];
    });
  }

  // scores_ [end - begin, seen] = scaled queries times keys.
  void ScoreBlock(int64_t begin, int64_t end, int64_t seen) {
    for (int64_t i = begin; i < end; ++i) {
      const float* from = q_.row(i);
      float* to = &queries_[(i - begin) * padded_];
      for (int64_t c = 0; c < width_; ++c) to[c] = from[c] * scale_;
    }
    SmallGemm<false>(end - begin, Padded(seen), width_, queries_.data(), padded_, 1,
                     keys_transposed_.data(), key_stride_, scores_.data(), key_stride_);
  }

  // In place over the first `seen` scores; the rest, up to `length`, become 0. Returns log sum exp.
  static float Softmax(float* scores, int64_t seen, int64_t length) {
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

  void BackwardBlock(const Segment& segment, const BackwardSlices& s, int64_t begin, int64_t end) {
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
  void ScoreGradient(const BackwardSlices& s, int64_t i, int64_t begin, int64_t seen,
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

  const int64_t width_, padded_;
  const float scale_;
  const Slice q_, k_, v_;
  const int32_t* query_rows_;
  const int64_t key_stride_;
  Slice column_k_, column_v_;
  std::vector<float> keys_transposed_, values_, queries_, scores_, block_;
  std::vector<float> keys_, values_transposed_, d_scores_, d_outs_, d_keys_, d_values_;
};

struct Segments {
  std::vector<Segment> causal, context;
  int64_t longest = 1;
};

Segments AllSegments(const AttentionLayout& layout, bool context) {
  Segments segments;
  const int32_t* rows = layout.causal.data_ptr<int32_t>();
  for (int64_t i = 0; i < layout.causal.size(0); ++i) {
    segments.causal.push_back(CausalSegment(rows + 5 * i, layout.prompt_rows));
    segments.longest = std::max(segments.longest, segments.causal.back().keys());
  }
  if (!context) return segments;
  rows = layout.context.data_ptr<int32_t>();
  for (int64_t i = 0; i < layout.context.size(0); ++i) {
    segments.context.push_back(ContextSegment(rows + 6 * i));
    segments.longest = std::max(segments.longest, segments.context.back().keys());
  }
  return segments;
}

}  // namespace

void AttentionForward(const AttentionInputs& inputs, const AttentionLayout& layout, at::Tensor out,
                      at::Tensor log_sum_exp) {
  const Segments segments = AllSegments(layout, inputs.context);
  const int64_t width = inputs.q.size(1) / inputs.heads;
  at::parallel_for(0, inputs.heads, 1, [&](int64_t first, int64_t last) {
    for (int64_t head = first; head < last; ++head) {
      HeadWorker worker(inputs, layout, head, segments.longest);
      const auto run = [&](int64_t expert, const std::vector<Segment>& list) {
        const at::Tensor lse = log_sum_exp[expert];
        const Slice slice(out[expert], head, width);
        for (const Segment& segment : list) {
          worker.Forward(segment, slice, lse.data_ptr<float>() + head, lse.stride(0));
        }
      };
      run(0, segments.causal);
      if (inputs.context) run(1, segments.context);
    }
  });
}

void AttentionBackward(const AttentionInputs& inputs, const AttentionLayout& layout,
                       const at::Tensor& out, const at::Tensor& log_sum_exp,
                       const at::Tensor& d_out, AttentionGradients* gradients) {
  const Segments segments = AllSegments(layout, inputs.context);
  const int64_t width = inputs.q.size(1) / inputs.heads;
  gradients->q.zero_();
  gradients->k.zero_();
  gradients->v.zero_();
  if (gradients->column_k.defined()) {
    gradients->column_k.zero_();
    gradients->column_v.zero_();
  }
  at::parallel_for(0, inputs.heads, 1, [&](int64_t first, int64_t last) {
    for (int64_t head = first; head < last; ++head) {
      HeadWorker worker(inputs, layout, head, segments.longest);
      HeadWorker::BackwardSlices s;
      s.d_q = Slice(gradients->q, head, width);
      s.d_k = Slice(gradients->k, head, width);
      s.d_v = Slice(gradients->v, head, width);
      if (gradients->column_k.defined()) {
        s.d_column_k = Slice(gradients->column_k, head, width);
        s.d_column_v = Slice(gradients->column_v, head, width);
      }
      const auto run = [&](int64_t expert, const std::vector<Segment>& list) {
        const at::Tensor lse = log_sum_exp[expert];
        s.out = Slice(out[expert], head, width);
        s.d_out = Slice(d_out[expert], head, width);
        s.log_sum_exp = lse.data_ptr<float>() + head;
        s.lse_stride = lse.stride(0);
        for (const Segment& segment : list) worker.Backward(segment, s);
      };
      run(0, segments.causal);
      if (inputs.context) run(1, segments.context);
    }
  });
}

}  // namespace mixrec::model::cpu
