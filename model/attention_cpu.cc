// Both attentions of a DAMoE layer on the CPU. A thread takes whole heads: the slices of a head are
// its own in every tensor, so nothing is locked and the sums do not depend on the number of
// threads.
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "model/kernels_cpu.h"
#include "model/loops.h"

namespace mixrec::model::cpu {
namespace {

Segment CausalSegment(const int32_t* row, int32_t prompt_rows) {
  Segment segment{row[0], row[1], row[2], row[3], 0, {-1, -1}, /*causal=*/true};
  if (row[4] != 0) segment.shared = prompt_rows;
  return segment;
}

Segment ContextSegment(const int32_t* row) {
  Segment segment{row[0], row[1], row[2], row[3], 0, {-1, -1}, /*causal=*/false};
  for (int side = 0; side < 2; ++side) {
    if (row[4 + side] >= 0) segment.columns[segment.shared++] = row[4 + side];
  }
  return segment;
}

struct Segments {
  std::vector<Segment> causal, context;

  int64_t MostKeys() const {
    int64_t most = 1;
    for (const auto* list : {&causal, &context}) {
      for (const Segment& segment : *list) {
        most = std::max(most, segment.shared + segment.key_end - segment.key_begin);
      }
    }
    return most;
  }
};

Segments AllSegments(const AttentionLayout& layout, bool context) {
  Segments segments;
  const int32_t* rows = layout.causal.data_ptr<int32_t>();
  for (int64_t i = 0; i < layout.causal.size(0); ++i) {
    segments.causal.push_back(CausalSegment(rows + 5 * i, layout.prompt_rows));
  }
  if (!context) return segments;
  rows = layout.context.data_ptr<int32_t>();
  for (int64_t i = 0; i < layout.context.size(0); ++i) {
    segments.context.push_back(ContextSegment(rows + 6 * i));
  }
  return segments;
}

// One head's columns of a row-major tensor.
Matrix HeadOf(const at::Tensor& tensor, int64_t head, int64_t width) {
  if (!tensor.defined()) return {nullptr, 0};
  return {tensor.data_ptr<float>() + head * width, tensor.stride(0)};
}

HeadInputs InputsOf(const AttentionInputs& inputs, const AttentionLayout& layout, int64_t head,
                    const at::Tensor& scratch) {
  const int64_t width = inputs.q.size(1) / inputs.heads;
  return {width,
          HeadOf(inputs.q, head, width),
          HeadOf(inputs.k, head, width),
          HeadOf(inputs.v, head, width),
          HeadOf(inputs.column_k, head, width),
          HeadOf(inputs.column_v, head, width),
          layout.query_rows.data_ptr<int32_t>(),
          scratch.data_ptr<float>()};
}

HeadOutputs OutputsOf(const at::Tensor& out, const at::Tensor& log_sum_exp, int64_t head,
                      int64_t width) {
  return {HeadOf(out, head, width), log_sum_exp.data_ptr<float>() + head, log_sum_exp.stride(0)};
}

// visit(head, its inputs) for every head.
template <typename Visit>
void ForEachHead(const AttentionInputs& inputs, const AttentionLayout& layout,
                 const Segments& segments, Visit visit) {
  const int64_t floats =
      ChosenLoops().attention->scratch(inputs.q.size(1) / inputs.heads, segments.MostKeys());
  at::parallel_for(0, inputs.heads, 1, [&](int64_t first, int64_t last) {
    const at::Tensor scratch = at::zeros({floats}, at::kFloat);  // ATen's memory is aligned
    for (int64_t head = first; head < last; ++head) {
      visit(head, InputsOf(inputs, layout, head, scratch));
    }
  });
}

}  // namespace

void AttentionForward(const AttentionInputs& inputs, const AttentionLayout& layout, at::Tensor out,
                      at::Tensor log_sum_exp) {
  const AttentionLoops& loops = *ChosenLoops().attention;
  const Segments segments = AllSegments(layout, inputs.context);
  ForEachHead(inputs, layout, segments, [&](int64_t head, const HeadInputs& head_inputs) {
    const auto run = [&](int64_t expert, const std::vector<Segment>& list) {
      const HeadOutputs outputs =
          OutputsOf(out[expert], log_sum_exp[expert], head, head_inputs.width);
      for (const Segment& segment : list) loops.forward(head_inputs, segment, outputs);
    };
    run(0, segments.causal);
    if (inputs.context) run(1, segments.context);
  });
}

void AttentionBackward(const AttentionInputs& inputs, const AttentionLayout& layout,
                       const at::Tensor& out, const at::Tensor& log_sum_exp,
                       const at::Tensor& d_out, AttentionGradients* gradients) {
  const AttentionLoops& loops = *ChosenLoops().attention;
  const Segments segments = AllSegments(layout, inputs.context);
  gradients->q.zero_();
  gradients->k.zero_();
  gradients->v.zero_();
  if (gradients->column_k.defined()) {
    gradients->column_k.zero_();
    gradients->column_v.zero_();
  }
  ForEachHead(inputs, layout, segments, [&](int64_t head, const HeadInputs& head_inputs) {
    const int64_t width = head_inputs.width;
    const auto run = [&](int64_t expert, const std::vector<Segment>& list) {
      const HeadOutputs outputs = OutputsOf(out[expert], log_sum_exp[expert], head, width);
      const HeadGradients head_gradients{
          HeadOf(d_out[expert], head, width),       HeadOf(gradients->q, head, width),
          HeadOf(gradients->k, head, width),        HeadOf(gradients->v, head, width),
          HeadOf(gradients->column_k, head, width), HeadOf(gradients->column_v, head, width)};
      for (const Segment& segment : list) {
        loops.backward(head_inputs, segment, outputs, head_gradients);
      }
    };
    run(0, segments.causal);
    if (inputs.context) run(1, segments.context);
  });
}

}  // namespace mixrec::model::cpu
