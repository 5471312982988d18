// Private to model/: both attentions of one head on the CPU, a segment at a time.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "model/kernels_cpu.h"

namespace mixrec::model::cpu {

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

// Everything a thread needs for one head, sized for the longest segment.
class AttentionHead {
 public:
  AttentionHead(const AttentionInputs& inputs, const AttentionLayout& layout, int64_t head,
                int64_t longest);

  void Forward(const Segment& segment, Slice out, float* log_sum_exp, int64_t lse_stride);

  struct BackwardSlices {
    Slice out, d_out, d_q, d_k, d_v, d_column_k, d_column_v;
    const float* log_sum_exp;
    int64_t lse_stride;
  };

  void Backward(const Segment& segment, const BackwardSlices& s);

 private:
  int64_t Seen(const Segment& segment, int64_t i) const;
  template <typename Visit>
  void ForEachKey(const Segment& segment, const Slice& own, const Slice& columns,
                  Visit visit) const;
  void Gather(const Segment& segment, const Slice& own, const Slice& columns,
              std::vector<float>* to) const;
  void GatherTransposed(const Segment& segment, const Slice& own, const Slice& columns,
                        std::vector<float>* to) const;
  void Scatter(const Segment& segment, const std::vector<float>& from, const Slice& own,
               const Slice& columns) const;
  void ScoreBlock(int64_t begin, int64_t end, int64_t seen);
  void BackwardBlock(const Segment& segment, const BackwardSlices& s, int64_t begin, int64_t end);
  void ScoreGradient(const BackwardSlices& s, int64_t i, int64_t begin, int64_t seen,
                     int64_t length);

  const int64_t width_, padded_;
  const float scale_;
  const Slice q_, k_, v_;
  const int32_t* query_rows_;
  const int64_t key_stride_;
  Slice column_k_, column_v_;
  std::vector<float> keys_transposed_, values_, queries_, scores_, block_;
  std::vector<float> keys_, values_transposed_, d_scores_, d_outs_, d_keys_, d_values_;
};

}  // namespace mixrec::model::cpu
