// Residual branches, gate and layer norm on the GPU against the CPU implementations.
#include <string>
#include <vector>

#include "common/random.h"
#include "model/kernels.h"
#include "tests/kernels_cuda_fixture.h"

namespace mixrec::model {
namespace {

struct RowShape {
  int64_t rows, width;
  bool extra = true, bias = true;
  double dropout = 0.0;
};

std::vector<RowShape> RowShapes() {
  return {{301, 768, true, true, 0.3},   {77, 64, false, true, 0.0}, {1, 32, true, false, 0.1},
          {5000, 40, false, false, 0.5}, {130, 33, true, true, 0.2}, {600, 1024, false, true, 0.1},
          {70, 2048, true, true, 0.1}};
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

// A norm that follows sums [rows, width], and its results by name.
FollowingNorm MakeNorm(const Lane& lane, const at::Tensor& gain, const at::Tensor& shift,
                       at::IntArrayRef sizes, NamedTensors* results) {
  FollowingNorm norm{lane.Copy(gain), lane.Copy(shift), lane.Poisoned(sizes),
                     lane.PoisonedFp32({sizes[0]}), lane.PoisonedFp32({sizes[0]})};
  results->insert(results->end(), {{"norm", norm.y}, {"mean", norm.mean}, {"rstd", norm.rstd}});
  return norm;
}

using RowsCuda = KernelsCuda;

TEST_P(RowsCuda, ResidualForwardAndBackwardEqualCpu) {
  for (const RowShape& shape : RowShapes()) {
    SCOPED_TRACE(shape.width);
    const at::Tensor raw = Random({shape.rows, shape.width}), bias = RandomFp32({shape.width}),
                     extra = Random({shape.rows, shape.width}),
                     residual = Random({shape.rows, shape.width}),
                     d_y = Random({shape.rows, shape.width}), d_bias = RandomFp32({shape.width}),
                     gain = Random({shape.width}), shift = Random({shape.width});
    const auto run = [&](const Lane& lane) {
      Branch branch;
      branch.raw = lane.Copy(raw);
      if (shape.bias) branch.bias = lane.Exactly(bias);
      if (shape.extra) branch.extra = lane.Copy(extra);
      branch.scale = 0.5;
      const Dropout dropout = MakeDropout(lane, shape);
      const at::Tensor y = lane.Poisoned(raw.sizes()), d_raw = lane.Poisoned(raw.sizes());
      const at::Tensor d_bias_sum = lane.Exactly(d_bias);
      NamedTensors results;
      ResidualForward(branch, lane.Copy(residual), dropout, y,
                      MakeNorm(lane, gain, shift, raw.sizes(), &results));
      const at::Tensor alone = lane.Poisoned(raw.sizes());
      ResidualForward(branch, lane.Copy(residual), dropout, alone);
      ResidualBackward(lane.Copy(d_y), 0.5, dropout, d_raw, d_bias_sum);
      const at::Tensor unbiased = lane.Poisoned(raw.sizes());
      ResidualBackward(lane.Copy(d_y), 0.5, dropout, unbiased, at::Tensor());
      results.insert(results.end(), {{"y", y},
                                     {"alone", alone},
                                     {"d_raw", d_raw},
                                     {"d_bias", d_bias_sum},
                                     {"unbiased", unbiased}});
      return results;
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
                     gate_bias = RandomFp32({2}), start = RandomFp32({2, 2 * shape.width}),
                     gain = Random({shape.width}), shift = Random({shape.width});
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
      NamedTensors norms;
      GateForward(&causal, &context, weight, lane.Exactly(gate_bias), lane.Copy(residual), dropout,
                  y, beta, MakeNorm(lane, gain, shift, sizes, &norms));
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
      results.insert(results.end(), norms.begin(), norms.end());
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

INSTANTIATE_TEST_SUITE_P(Types, RowsCuda, testing::Values(at::kFloat, at::kBFloat16), TypeName);

}  // namespace
}  // namespace mixrec::model
