// Both attentions of a DAMoE layer on the CPU. A thread takes whole heads: the slices of a head are
// its own in every tensor, so nothing is locked and the sums do not depend on the number of
// threads.
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "model/attention_cpu_head.h"
#include "model/kernels_cpu.h"

namespace mixrec::model::cpu {
namespace {

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
      AttentionHead worker(inputs, layout, head, segments.longest);
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
      AttentionHead worker(inputs, layout, head, segments.longest);
      AttentionHead::BackwardSlices s;
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
