// Every fused kernel on the GPU against its CPU implementation, on random inputs.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "common/random.h"
#include "model/kernels.h"

namespace mixrec::model {
namespace {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// Which tensors a run uses: the CPU in fp32, or the GPU in the tested type.
struct Lane {
  at::Device device;
  at::ScalarType type;
  at::Tensor Copy(const at::Tensor& tensor) const {
    return tensor.to(at::TensorOptions().device(device).dtype(type), false, true);
  }
  at::Tensor Exactly(const at::Tensor& tensor) const {  // keeps the type
    return tensor.to(device, /*non_blocking=*/false, /*copy=*/true);
  }
  at::Tensor Poisoned(at::IntArrayRef sizes) const { return Filled(sizes, type, kPoison); }
  at::Tensor PoisonedFp32(at::IntArrayRef sizes) const {
    return Filled(sizes, at::kFloat, kPoison);
  }
  at::Tensor Filled(at::IntArrayRef sizes, at::ScalarType of_type, double value) const {
    return at::full(sizes, value, at::TensorOptions().device(device).dtype(of_type));
  }
  static constexpr double kPoison = std::numeric_limits<double>::quiet_NaN();
};

class KernelsCuda : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override {
    if (c10::cuda::device_count() == 0) GTEST_SKIP() << "no CUDA GPU on this machine";
  }
  at::ScalarType type() const { return GetParam(); }
  Lane cpu() const { return {at::kCPU, at::kFloat}; }
  Lane gpu() const { return {at::Device(at::kCUDA, 0), type()}; }
  double tolerance() const { return type() == at::kFloat ? 1e-5 : 2e-2; }

  // Values that the tested type holds exactly, so that both lanes start from the same numbers.
  at::Tensor Random(at::IntArrayRef sizes, double deviation = 1.0, double mean = 0.0) {
    const at::Tensor values = at::empty(sizes, at::kFloat).normal_(mean, deviation, generator_);
    return values.to(type()).to(at::kFloat);
  }
  at::Tensor RandomFp32(at::IntArrayRef sizes, double deviation = 1.0) {
    return at::empty(sizes, at::kFloat).normal_(0.0, deviation, generator_);
  }

  // Relative Frobenius distance of every tensor.
  void ExpectClose(const NamedTensors& expected, const NamedTensors& found, double bound) {
    ASSERT_EQ(expected.size(), found.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      const at::Tensor want = expected[i].second.to(at::kDouble);
      const at::Tensor have = found[i].second.to(at::kCPU).to(at::kDouble);
      ASSERT_EQ(want.sizes(), have.sizes()) << expected[i].first;
      const double scale = std::max(want.norm().item<double>(), 1e-12);
      EXPECT_LE((want - have).norm().item<double>() / scale, bound) << expected[i].first;
    }
  }
  void ExpectClose(const NamedTensors& expected, const NamedTensors& found) {
    ExpectClose(expected, found, tolerance());
  }

  at::Generator generator_ = at::detail::createCPUGenerator(20240607);
};

struct StreamShape {
  int64_t heads = 4, head_width = 8;
  int prompt_rows = 0;
  std::vector<int> sequences, alignments;  // rows of each document
  int columns = 0;
  bool context = true;
  bool trimmed = false;  // queries are a few rows only, some groups have none
};

struct Segments {
  std::vector<int32_t> fields, owner;
  int width;
  at::Tensor Table() const {
    return at::tensor(fields, at::kInt).view({static_cast<int64_t>(fields.size()) / width, width});
  }
  // Appends the segment of rows [begin, end) and its queries.
  void Add(const std::vector<int32_t>& queries, int begin, int end,
           const std::vector<int32_t>& rest) {
    const auto first = std::lower_bound(queries.begin(), queries.end(), begin) - queries.begin();
    const auto last = std::lower_bound(queries.begin(), queries.end(), end) - queries.begin();
    const auto index = static_cast<int32_t>(fields.size() / width);
    owner.insert(owner.end(), static_cast<size_t>(last - first), index);
    fields.insert(fields.end(),
                  {static_cast<int32_t>(first), static_cast<int32_t>(last), begin, end});
    fields.insert(fields.end(), rest.begin(), rest.end());
  }
};

AttentionLayout MakeLayout(const StreamShape& shape, int64_t* rows) {
  RandomStream random(HashKey(7, "layout"));
  const auto below = [&](int bound) { return static_cast<int>(random.Next() % bound); };
  std::vector<int> documents = {shape.prompt_rows};
  documents.insert(documents.end(), shape.sequences.begin(), shape.sequences.end());
  documents.insert(documents.end(), shape.alignments.begin(), shape.alignments.end());
  int total = 0;
  for (const int length : documents) total += length;
  *rows = total;
  std::vector<int32_t> queries;
  for (int row = 0; row < total; ++row) {
    if (!shape.trimmed || below(9) == 0) queries.push_back(row);
  }
  Segments causal{{}, {}, 5}, context{{}, {}, 6};
  int begin = 0;
  for (size_t d = 0; d < documents.size(); ++d) {
    const int end = begin + documents[d];
    if (begin == end) continue;
    const bool alignment = d > shape.sequences.size();
    causal.Add(queries, begin, end, {alignment && shape.prompt_rows > 0 ? 1 : 0});
    const int32_t user = shape.columns > 0 && !alignment && d > 0 ? below(shape.columns) : -1;
    for (int row = begin; row < end;) {
      const int next = d == 0 ? end : std::min(end, row + 1 + below(45));
      const int32_t item = shape.columns > 0 && d > 0 ? below(shape.columns + 1) - 1 : -1;
      context.Add(queries, row, next, {below(4) == 0 ? -1 : user, item});
      row = next;
    }
    begin = end;
  }
  AttentionLayout layout;
  layout.query_rows = at::tensor(queries, at::kInt);
  layout.causal = causal.Table();
  layout.context = context.Table();
  layout.query_document = at::tensor(causal.owner, at::kInt);
  layout.query_group = at::tensor(context.owner, at::kInt);
  layout.prompt_rows = shape.prompt_rows;
  return layout;
}

// q, k, v are views of one [T, 3D] buffer (or q stands alone when trimmed), and so are their
// gradients, filled with NaN before.
NamedTensors RunAttention(const Lane& lane, const StreamShape& shape, const AttentionLayout& host,
                          const at::Tensor& qkv, const at::Tensor& columns,
                          const at::Tensor& d_out) {
  const int64_t width = shape.heads * shape.head_width, rows = qkv.size(0);
  AttentionLayout layout = host;
  for (at::Tensor* tensor : {&layout.query_rows, &layout.causal, &layout.context,
                             &layout.query_document, &layout.query_group}) {
    *tensor = lane.Exactly(*tensor);
  }
  const at::Tensor buffer = lane.Copy(qkv), column_buffer = lane.Copy(columns);
  const at::Tensor d_buffer = lane.Poisoned({rows, 3 * width});
  const at::Tensor d_columns = lane.Poisoned(columns.sizes());
  const int64_t queries = layout.query_rows.numel(), kinds = shape.context ? 2 : 1;
  AttentionInputs inputs;
  AttentionGradients gradients;
  inputs.q = buffer.narrow(1, 0, width);
  gradients.q = d_buffer.narrow(1, 0, width);
  if (shape.trimmed) {
    inputs.q = inputs.q.index_select(0, layout.query_rows);
    gradients.q = lane.Poisoned({queries, width});
  }
  inputs.k = buffer.narrow(1, width, width);
  inputs.v = buffer.narrow(1, 2 * width, width);
  gradients.k = d_buffer.narrow(1, width, width);
  gradients.v = d_buffer.narrow(1, 2 * width, width);
  if (shape.columns > 0) {
    inputs.column_k = column_buffer.narrow(1, 0, width);
    inputs.column_v = column_buffer.narrow(1, width, width);
    gradients.column_k = d_columns.narrow(1, 0, width);
    gradients.column_v = d_columns.narrow(1, width, width);
  }
  inputs.heads = shape.heads;
  inputs.context = shape.context;
  const at::Tensor out = lane.Poisoned({kinds, queries, width});
  const at::Tensor log_sum_exp = lane.PoisonedFp32({kinds, queries, shape.heads});
  AttentionForward(inputs, layout, out, log_sum_exp);
  AttentionBackward(inputs, layout, out, log_sum_exp, lane.Copy(d_out), &gradients);
  NamedTensors results = {{"out", out},
                          {"log_sum_exp", log_sum_exp},
                          {"d_q", gradients.q},
                          {"d_k", gradients.k},
                          {"d_v", gradients.v}};
  if (shape.columns > 0) {
    results.emplace_back("d_column_k", gradients.column_k);
    results.emplace_back("d_column_v", gradients.column_v);
  }
  return results;
}

class AttentionCuda : public KernelsCuda {
 protected:
  void Check(const StreamShape& shape) {
    const int64_t width = shape.heads * shape.head_width;
    int64_t rows = 0;
    const AttentionLayout layout = MakeLayout(shape, &rows);
    const at::Tensor qkv = Random({rows, 3 * width});
    const at::Tensor columns = Random({shape.columns, 2 * width});
    const at::Tensor d_out = Random({shape.context ? 2 : 1, layout.query_rows.numel(), width});
    ExpectClose(RunAttention(cpu(), shape, layout, qkv, columns, d_out),
                RunAttention(gpu(), shape, layout, qkv, columns, d_out));
  }
};

TEST_P(AttentionCuda, EqualsCpuOnAMixedStream) {
  Check({12, 64, 9, {1, 124, 400, 33, 64}, {31, 5, 40, 32, 1}, 17, true, false});
}
TEST_P(AttentionCuda, EqualsCpuOnSmallHeads) {
  Check({4, 8, 9, {50, 7, 130}, {31, 12, 20}, 5, true, false});
}
TEST_P(AttentionCuda, EqualsCpuOnHeadsOfEightyAndOfAHundredAndTwentyEight) {
  Check({3, 80, 9, {70, 31}, {31, 20}, 4, true, false});
  Check({2, 128, 0, {70, 31}, {}, 4, true, false});
}
TEST_P(AttentionCuda, EqualsCpuOnOddHeadWidths) {
  Check({3, 5, 3, {20, 41}, {9, 9}, 3, true, false});
  Check({2, 130, 3, {20, 41}, {9, 9}, 3, true, false});
}
TEST_P(AttentionCuda, EqualsCpuWhenFewRowsAreQueries) {
  Check({8, 8, 9, {124, 300, 33}, {31, 5, 40, 32}, 11, true, true});
}
TEST_P(AttentionCuda, EqualsCpuWithoutColumns) {
  Check({4, 16, 9, {60, 90}, {31, 30}, 0, true, false});
}
TEST_P(AttentionCuda, EqualsCpuCausalOnly) {
  Check({4, 32, 9, {60, 90}, {31, 30}, 0, false, false});
}
TEST_P(AttentionCuda, EqualsCpuOnMoreQueriesThanAPromptChunk) {
  Check({2, 16, 9, std::vector<int>(20, 60), std::vector<int>(60, 31), 40, true, false});
}

struct RowShape {
  int64_t rows, width;
  bool extra = true, bias = true;
  double dropout = 0.0;
};

std::vector<RowShape> RowShapes() {
  return {{301, 768, true, true, 0.3},
          {77, 64, false, true, 0.0},
          {1, 32, true, false, 0.1},
          {5000, 40, false, false, 0.5},
          {130, 33, true, true, 0.2}};
}

Dropout MakeDropout(const Lane& lane, const RowShape& shape) {
  Dropout dropout;
  dropout.probability = shape.dropout;
  if (shape.dropout == 0.0) return dropout;
  dropout.site = 5;
  std::vector<int64_t> keys(static_cast<size_t>(shape.rows));
  for (size_t row = 0; row < keys.size(); ++row) {
    keys[row] = static_cast<int64_t>(HashKey(3, static_cast<uint64_t>(row)));
  }
  dropout.row_keys = lane.Exactly(at::tensor(keys, at::kLong));
  return dropout;
}

using RowsCuda = KernelsCuda;

TEST_P(RowsCuda, ResidualForwardAndBackwardEqualCpu) {
  for (const RowShape& shape : RowShapes()) {
    SCOPED_TRACE(shape.width);
    const at::Tensor raw = Random({shape.rows, shape.width}), bias = RandomFp32({shape.width}),
                     extra = Random({shape.rows, shape.width}),
                     residual = Random({shape.rows, shape.width}),
                     d_y = Random({shape.rows, shape.width}), d_bias = RandomFp32({shape.width});
    const auto run = [&](const Lane& lane) {
      Branch branch;
      branch.raw = lane.Copy(raw);
      if (shape.bias) branch.bias = lane.Exactly(bias);
      if (shape.extra) branch.extra = lane.Copy(extra);
      branch.scale = 0.5;
      const Dropout dropout = MakeDropout(lane, shape);
      const at::Tensor y = lane.Poisoned(raw.sizes()), d_raw = lane.Poisoned(raw.sizes());
      const at::Tensor d_bias_sum = lane.Exactly(d_bias);
      ResidualForward(branch, lane.Copy(residual), dropout, y);
      ResidualBackward(lane.Copy(d_y), 0.5, dropout, d_raw, d_bias_sum);
      const at::Tensor unbiased = lane.Poisoned(raw.sizes());
      ResidualBackward(lane.Copy(d_y), 0.5, dropout, unbiased, at::Tensor());
      return NamedTensors{
          {"y", y}, {"d_raw", d_raw}, {"d_bias", d_bias_sum}, {"unbiased", unbiased}};
    };
    ExpectClose(run(cpu()), run(gpu()));
  }
}

TEST_P(RowsCuda, DropoutMasksAreIdentical) {
  const RowShape shape{200, 256, false, false, 0.3};
  const auto run = [&](const Lane& lane) {
    const at::Tensor d_raw = lane.Poisoned({shape.rows, shape.width});
    ResidualBackward(lane.Filled({shape.rows, shape.width}, lane.type, 1.0), 1.0,
                     MakeDropout(lane, shape), d_raw, at::Tensor());
    return d_raw.to(at::kCPU).ne(0);
  };
  const at::Tensor expected = run(cpu());
  EXPECT_TRUE(at::equal(expected, run(gpu())));
  EXPECT_NEAR(expected.to(at::kFloat).mean().item<double>(), 0.7, 0.02);
}

TEST_P(RowsCuda, GateForwardAndBackwardEqualCpu) {
  for (const RowShape& shape : RowShapes()) {
    SCOPED_TRACE(shape.width);
    const std::vector<int64_t> sizes = {shape.rows, shape.width};
    // Means off zero, so that the sum over rows that is the gate bias gradient does not cancel.
    const at::Tensor q = Random(sizes, 1.0, 0.5), p = Random(sizes), q_extra = Random(sizes),
                     residual = Random(sizes), d_y = Random(sizes, 1.0, 0.5),
                     q_bias = RandomFp32({shape.width}), p_bias = RandomFp32({shape.width}),
                     gate_weight = RandomFp32({2, 2 * shape.width}, 0.1),
                     gate_bias = RandomFp32({2}), start = RandomFp32({2, 2 * shape.width});
    const auto run = [&](const Lane& lane) {
      Branch causal, context;
      causal.raw = lane.Copy(q);
      context.raw = lane.Copy(p);
      if (shape.extra) causal.extra = lane.Copy(q_extra);
      if (shape.bias) causal.bias = lane.Exactly(q_bias);
      context.bias = lane.Exactly(p_bias);
      causal.scale = 0.5;
      const Dropout dropout = MakeDropout(lane, shape);
      const at::Tensor weight = lane.Exactly(gate_weight), y = lane.Poisoned(sizes),
                       beta = lane.PoisonedFp32({shape.rows, 2});
      GateForward(&causal, &context, weight, lane.Exactly(gate_bias), lane.Copy(residual), dropout,
                  y, beta);
      GateGradients gradients;
      gradients.causal_raw = lane.Poisoned(sizes);
      gradients.context_raw = lane.Poisoned(sizes);
      if (shape.bias) gradients.causal_bias = lane.Exactly(q_bias);
      gradients.context_bias = lane.Exactly(p_bias);
      gradients.gate_weight = lane.Exactly(start);
      gradients.gate_bias = lane.Exactly(gate_bias);
      GateBackward(lane.Copy(d_y), causal, context, weight, beta, dropout, &gradients);
      NamedTensors results = {{"y", y},
                              {"beta", beta},
                              {"q", causal.raw},
                              {"p", context.raw},
                              {"d_causal", gradients.causal_raw},
                              {"d_context", gradients.context_raw},
                              {"d_context_bias", gradients.context_bias},
                              {"d_gate_weight", gradients.gate_weight},
                              {"d_gate_bias", gradients.gate_bias}};
      if (shape.bias) results.emplace_back("d_causal_bias", gradients.causal_bias);
      return results;
    };
    ExpectClose(run(cpu()), run(gpu()));
  }
}

TEST_P(RowsCuda, LayerNormForwardAndBackwardEqualCpu) {
  for (const RowShape& shape : RowShapes()) {
    SCOPED_TRACE(shape.width);
    const std::vector<int64_t> sizes = {shape.rows, shape.width};
    const at::Tensor x = Random(sizes, 2.0, 0.5), weight = Random({shape.width}),
                     bias = Random({shape.width}), d_y = Random(sizes), d_x = Random(sizes);
    const auto run = [&](const Lane& lane) {
      // Frozen weights have the activations' type.
      const at::Tensor input = lane.Copy(x), gain = lane.Copy(weight), sum = lane.Copy(d_x);
      const at::Tensor y = lane.Poisoned(sizes), mean = lane.PoisonedFp32({shape.rows}),
                       rstd = lane.PoisonedFp32({shape.rows});
      LayerNormForward(input, gain, lane.Copy(bias), y, mean, rstd);
      LayerNormBackward(lane.Copy(d_y), input, gain, mean, rstd, sum);
      return NamedTensors{{"y", y}, {"mean", mean}, {"rstd", rstd}, {"d_x", sum}};
    };
    ExpectClose(run(cpu()), run(gpu()));
  }
}

TEST_P(RowsCuda, RepeatedRunsAreBitEqual) {
  const at::Tensor d_y = Random({3000, 96});
  const auto run = [&] {
    const Lane lane = gpu();
    const at::Tensor d_raw = lane.Poisoned(d_y.sizes());
    const at::Tensor d_bias = lane.Filled({96}, at::kFloat, 0.0);
    ResidualBackward(lane.Copy(d_y), 1.0, Dropout(), d_raw, d_bias);
    return d_bias;
  };
  EXPECT_TRUE(at::equal(run(), run()));
}

std::string TypeName(const testing::TestParamInfo<at::ScalarType>& info) {
  return info.param == at::kFloat ? "fp32" : "bf16";
}
INSTANTIATE_TEST_SUITE_P(Types, AttentionCuda, testing::Values(at::kFloat, at::kBFloat16),
                         TypeName);
INSTANTIATE_TEST_SUITE_P(Types, RowsCuda, testing::Values(at::kFloat, at::kBFloat16), TypeName);

}  // namespace
}  // namespace mixrec::model
