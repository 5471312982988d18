// Both attentions of one head on the CPU, a segment at a time. Compiled for several processors: see
// loops.h for what may be included.
#include "model/loops.h"
#include "model/small_gemm.h"
#include "tensor/exp.h"

namespace mixrec::model::cpu::MIXREC_LOOPS {
namespace {

constexpr int64_t kQueryBlock = 24;

int64_t Smaller(int64_t a, int64_t b) { return a < b ? a : b; }

float* Row(const Matrix& matrix, int64_t index) { return matrix.data + index * matrix.stride; }

void Copy(const float* from, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = from[i];
}

void Fill(float value, float* to, float* end) {
  for (; to < end; ++to) *to = value;
}

// Rows of a transposed matrix: an odd number of cache lines apart, so that a column's lines do not
// share a set of the cache.
int64_t KeyStride(int64_t keys) { return Padded(keys) | kLane; }

// In place over the first `seen` scores; the rest, up to `length`, become 0. Returns log sum exp.
float Softmax(float* scores, int64_t seen, int64_t length) {
  float largest = scores[0];
  for (int64_t j = 1; j < seen; ++j) largest = scores[j] > largest ? scores[j] : largest;
  float sum = 0.0f;
  for (int64_t j = 0; j < seen; ++j) {
    scores[j] = tensor::ExpOfNonPositive(scores[j] - largest);
    sum += scores[j];
  }
  const float inverse = 1.0f / sum;
  for (int64_t j = 0; j < seen; ++j) scores[j] *= inverse;
  Fill(0.0f, scores + seen, scores + length);
  return largest + __builtin_logf(sum);
}

// A segment's queries against its keys. Rows of a head are padded to whole lanes in scratch; what
// stands in the padding is never read by what counts.
class SegmentAttention {
 public:
  SegmentAttention(const HeadInputs& inputs, const Segment& segment)
      : in_(inputs),
        segment_(segment),
        width_(inputs.width),
        padded_(Padded(width_)),
        keys_(segment.shared + segment.key_end - segment.key_begin),
        key_stride_(KeyStride(keys_)),
        scale_(1.0f / __builtin_sqrtf(static_cast<float>(width_))) {
    k_ = Take(Padded(keys_), padded_);
    v_ = Take(Padded(keys_), padded_);
    d_keys_ = Take(keys_, padded_);
    d_values_ = Take(keys_, padded_);
    k_transposed_ = Take(padded_, key_stride_);
    v_transposed_ = Take(padded_, key_stride_);
    queries_ = Take(kQueryBlock, padded_);
    block_ = Take(kQueryBlock, padded_);
    d_outs_ = Take(kQueryBlock, padded_);
    scores_ = Take(kQueryBlock, key_stride_);
    d_scores_ = Take(kQueryBlock, key_stride_);
  }

  int64_t floats() const { return floats_; }

  void Forward(const HeadOutputs& outputs) const {
    Gather(in_.k, in_.column_k, k_);
    Gather(in_.v, in_.column_v, v_);
    Transpose(Padded(keys_), padded_, k_, k_transposed_);
    ForEachBlock([&](int64_t begin, int64_t end) { ForwardBlock(outputs, begin, end); });
  }

  void Backward(const HeadOutputs& outputs, const HeadGradients& gradients) const {
    Gather(in_.k, in_.column_k, k_);
    Gather(in_.v, in_.column_v, v_);
    Transpose(Padded(keys_), padded_, k_, k_transposed_);
    Transpose(Padded(keys_), padded_, v_, v_transposed_);
    Fill(0.0f, d_keys_.data, Row(d_keys_, keys_));
    Fill(0.0f, d_values_.data, Row(d_values_, keys_));
    ForEachBlock(
        [&](int64_t begin, int64_t end) { BackwardBlock(outputs, gradients, begin, end); });
    Scatter(d_keys_, gradients.d_k, gradients.d_column_k);
    Scatter(d_values_, gradients.d_v, gradients.d_column_v);
  }

 private:
  // The next of the scratch; without any it is only counted.
  Matrix Take(int64_t rows, int64_t stride) {
    float* begin = in_.scratch == nullptr ? nullptr : in_.scratch + floats_;
    floats_ += rows * stride;
    return {begin, stride};
  }

  template <typename Visit>
  void ForEachBlock(Visit visit) const {
    for (int64_t begin = segment_.query_begin; begin < segment_.query_end; begin += kQueryBlock) {
      visit(begin, Smaller(begin + kQueryBlock, segment_.query_end));
    }
  }

  template <typename Visit>
  void ForEachKey(const Matrix& own, const Matrix& columns, Visit visit) const {
    int64_t key = 0;
    for (; key < segment_.shared; ++key) {
      visit(key, segment_.causal ? Row(own, key) : Row(columns, segment_.columns[key]));
    }
    for (int64_t row = segment_.key_begin; row < segment_.key_end; ++row) {
      visit(key++, Row(own, row));
    }
  }

  void Gather(const Matrix& own, const Matrix& columns, const Matrix& to) const {
    ForEachKey(own, columns,
               [&](int64_t key, const float* from) { Copy(from, width_, Row(to, key)); });
  }

  void Scatter(const Matrix& from, const Matrix& own, const Matrix& columns) const {
    ForEachKey(own, columns, [&](int64_t key, float* to) {
      const float* source = Row(from, key);
      for (int64_t c = 0; c < width_; ++c) to[c] += source[c];
    });
  }

  // How many of the segment's keys query i sees: they are ordered so that these come first.
  int64_t Seen(int64_t i) const {
    if (!segment_.causal) return keys_;
    return segment_.shared + in_.query_rows[i] - segment_.key_begin + 1;
  }

  // scores_ [end - begin, seen] = scaled queries times keys.
  void ScoreBlock(int64_t begin, int64_t end, int64_t seen) const {
    for (int64_t i = begin; i < end; ++i) {
      const float* from = Row(in_.q, i);
      float* to = Row(queries_, i - begin);
      for (int64_t c = 0; c < width_; ++c) to[c] = from[c] * scale_;
    }
    SmallGemm<false>(end - begin, Padded(seen), width_, {queries_.data, padded_, 1}, k_transposed_,
                     scores_);
  }

  void ForwardBlock(const HeadOutputs& outputs, int64_t begin, int64_t end) const {
    const int64_t seen = Seen(end - 1);
    ScoreBlock(begin, end, seen);
    for (int64_t i = begin; i < end; ++i) {
      outputs.log_sum_exp[i * outputs.lse_stride] =
          Softmax(Row(scores_, i - begin), Seen(i), Padded(seen));
    }
    SmallGemm<false>(end - begin, padded_, seen, {scores_.data, key_stride_, 1}, v_, block_);
    for (int64_t i = begin; i < end; ++i) {
      Copy(Row(block_, i - begin), width_, Row(outputs.out, i));
    }
  }

  void BackwardBlock(const HeadOutputs& outputs, const HeadGradients& gradients, int64_t begin,
                     int64_t end) const {
    const int64_t rows = end - begin, seen = Seen(end - 1);
    ScoreBlock(begin, end, seen);
    for (int64_t i = begin; i < end; ++i) {
      Copy(Row(gradients.d_out, i), width_, Row(d_outs_, i - begin));
    }
    SmallGemm<false>(rows, Padded(seen), width_, {d_outs_.data, padded_, 1}, v_transposed_,
                     d_scores_);
    for (int64_t i = begin; i < end; ++i) {
      ScoreGradient(outputs, i, Row(d_outs_, i - begin), Padded(seen), Row(scores_, i - begin),
                    Row(d_scores_, i - begin));
    }
    SmallGemm<true>(seen, padded_, rows, {scores_.data, 1, key_stride_}, d_outs_, d_values_);
    SmallGemm<true>(seen, padded_, rows, {d_scores_.data, 1, key_stride_}, queries_, d_keys_);
    SmallGemm<false>(rows, padded_, seen, {d_scores_.data, key_stride_, 1}, k_, block_);
    for (int64_t i = begin; i < end; ++i) {
      const float* from = Row(block_, i - begin);
      float* to = Row(gradients.d_q, i);
      for (int64_t c = 0; c < width_; ++c) to[c] += from[c] * scale_;
    }
  }

  // Of query i: the scores p become the probabilities; d, the gradient of these, becomes that of
  // the scaled scores.
  void ScoreGradient(const HeadOutputs& outputs, int64_t i, const float* d_out, int64_t length,
                     float* p, float* d) const {
    const int64_t seen = Seen(i);
    const float* out = Row(outputs.out, i);
    float delta = 0.0f;
    for (int64_t c = 0; c < width_; ++c) delta += out[c] * d_out[c];
    const float lse = outputs.log_sum_exp[i * outputs.lse_stride];
    for (int64_t j = 0; j < seen; ++j) {
      const float above = p[j] - lse;
      p[j] = tensor::ExpOfNonPositive(above < 0.0f ? above : 0.0f);
      d[j] = p[j] * (d[j] - delta);
    }
    Fill(0.0f, p + seen, p + length);
    Fill(0.0f, d + seen, d + length);
  }

  const HeadInputs& in_;
  const Segment& segment_;
  const int64_t width_, padded_, keys_, key_stride_;
  const float scale_;
  Matrix k_, v_, d_keys_, d_values_;    // [keys, width]
  Matrix k_transposed_, v_transposed_;  // [width, keys]
  Matrix queries_, block_, d_outs_;     // [block, width]
  Matrix scores_, d_scores_;            // [block, keys]
  int64_t floats_ = 0;
};

int64_t Scratch(int64_t width, int64_t keys) {
  const HeadInputs inputs{width, {}, {}, {}, {}, {}, nullptr, nullptr};
  const Segment segment{0, 0, 0, keys, 0, {-1, -1}, false};
  return SegmentAttention(inputs, segment).floats();
}

void Forward(const HeadInputs& inputs, const Segment& segment, const HeadOutputs& outputs) {
  if (segment.query_begin == segment.query_end) return;
  SegmentAttention(inputs, segment).Forward(outputs);
}

void Backward(const HeadInputs& inputs, const Segment& segment, const HeadOutputs& outputs,
              const HeadGradients& gradients) {
  if (segment.query_begin == segment.query_end) return;
  SegmentAttention(inputs, segment).Backward(outputs, gradients);
}

}  // namespace

extern const AttentionLoops kAttentionLoops;
constexpr AttentionLoops kAttentionLoops{Scratch, Forward, Backward};

}  // namespace mixrec::model::cpu::MIXREC_LOOPS
