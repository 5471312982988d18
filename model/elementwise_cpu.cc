// Row-wise passes of a DAMoE layer on the CPU, shared out over threads.
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "model/kernels_cpu.h"
#include "model/loops.h"

namespace mixrec::model::cpu {
namespace {

// Column sums are added block by block: the same for any thread count.
constexpr int64_t kBlocks = 32;
constexpr int64_t kRowGrain = 16;

Matrix MatrixOf(const at::Tensor& tensor) {
  if (!tensor.defined()) return {nullptr, 0};
  return {tensor.data_ptr<float>(), tensor.stride(0)};
}

const float* Values(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.data_ptr<float>() : nullptr;
}

MaskRows MaskOf(const Dropout& dropout) {
  if (dropout.probability <= 0.0) return {nullptr, 0, 0, 1.0f};
  return {dropout.row_keys.data_ptr<int64_t>(), dropout.site, DropoutThreshold(dropout.probability),
          static_cast<float>(1.0 / (1.0 - dropout.probability))};
}

BranchRows BranchOf(const Branch& branch) {
  return {MatrixOf(branch.raw), Values(branch.bias), MatrixOf(branch.extra),
          static_cast<float>(branch.scale)};
}

// gate_weight[0] - gate_weight[1], [2D].
std::vector<float> GateDifference(const at::Tensor& gate_weight) {
  const Matrix weight = MatrixOf(gate_weight);
  std::vector<float> difference(static_cast<size_t>(gate_weight.size(1)));
  for (size_t c = 0; c < difference.size(); ++c) {
    difference[c] = weight.data[c] - weight.data[static_cast<size_t>(weight.stride) + c];
  }
  return difference;
}

// Runs visit(row begin, row end, sums of this block) over kBlocks blocks of rows and returns the
// blocks' sums, added in order.
template <typename Visit>
std::vector<float> BlockSums(int64_t rows, int64_t width, Visit visit) {
  std::vector<float> sums(static_cast<size_t>(kBlocks * width), 0.0f);
  at::parallel_for(0, kBlocks, 1, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      visit(rows * block / kBlocks, rows * (block + 1) / kBlocks, &sums[block * width]);
    }
  });
  for (int64_t block = 1; block < kBlocks; ++block) {
    for (int64_t c = 0; c < width; ++c) sums[c] += sums[block * width + c];
  }
  return sums;
}

void AddTo(const at::Tensor& to, const float* from) {
  if (!to.defined()) return;
  float* values = to.data_ptr<float>();
  for (int64_t i = 0; i < to.numel(); ++i) values[i] += from[i];
}

NormRows NormOf(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                const at::Tensor& y, const at::Tensor& mean, const at::Tensor& rstd) {
  return {x.size(1),   Values(weight),         Values(bias),          MatrixOf(x),
          MatrixOf(y), mean.data_ptr<float>(), rstd.data_ptr<float>()};
}

// Runs pass(row begin, row end, [D] scratch), which makes rows of y, and their norm, if one is
// wanted, while they are in cache.
template <typename Pass>
void ForRowsOf(const at::Tensor& y, const FollowingNorm& norm, Pass pass) {
  const bool follows = norm.weight.defined();
  const NormRows rows =
      follows ? NormOf(y, norm.weight, norm.bias, norm.y, norm.mean, norm.rstd) : NormRows{};
  at::parallel_for(0, y.size(0), kRowGrain, [&](int64_t first, int64_t last) {
    std::vector<float> scratch(static_cast<size_t>(y.size(1)));
    for (int64_t begin = first; begin < last; begin += kRowGrain) {
      const int64_t end = std::min(begin + kRowGrain, last);
      pass(begin, end, scratch.data());
      if (follows) ChosenLoops().rows->norm(rows, begin, end);
    }
  });
}

}  // namespace

void ResidualForward(const Branch& branch, const at::Tensor& residual, const Dropout& dropout,
                     at::Tensor y, const FollowingNorm& norm) {
  const int64_t width = y.size(1);
  const ResidualRows rows{width, BranchOf(branch), MaskOf(dropout), MatrixOf(residual),
                          MatrixOf(y)};
  ForRowsOf(y, norm, [&](int64_t first, int64_t last, float* scratch) {
    ChosenLoops().rows->residual(rows, first, last, scratch);
  });
}

void ResidualBackward(const at::Tensor& d_y, double scale, const Dropout& dropout, at::Tensor d_raw,
                      at::Tensor d_bias) {
  const int64_t width = d_y.size(1);
  const ResidualGradientRows rows{width, MaskOf(dropout), static_cast<float>(scale), MatrixOf(d_y),
                                  MatrixOf(d_raw)};
  const std::vector<float> sums =
      BlockSums(d_y.size(0), width, [&](int64_t first, int64_t last, float* sum) {
        ChosenLoops().rows->residual_gradient(rows, first, last, sum);
      });
  AddTo(d_bias, sums.data());
}

void GateForward(Branch* causal, Branch* context, const at::Tensor& gate_weight,
                 const at::Tensor& gate_bias, const at::Tensor& residual, const Dropout& dropout,
                 at::Tensor y, at::Tensor beta, const FollowingNorm& norm) {
  const int64_t width = y.size(1);
  const std::vector<float> difference = GateDifference(gate_weight);
  const GateRows rows{width,
                      BranchOf(*causal),
                      BranchOf(*context),
                      MaskOf(dropout),
                      difference.data(),
                      Values(gate_bias)[0] - Values(gate_bias)[1],
                      MatrixOf(residual),
                      MatrixOf(y),
                      MatrixOf(beta)};
  ForRowsOf(y, norm, [&](int64_t first, int64_t last, float* scratch) {
    ChosenLoops().rows->gate(rows, first, last, scratch);
  });
}

void GateBackward(const at::Tensor& d_y, const Branch& causal, const Branch& context,
                  const at::Tensor& gate_weight, const at::Tensor& beta, const Dropout& dropout,
                  GateGradients* gradients) {
  const int64_t width = d_y.size(1);
  const std::vector<float> difference = GateDifference(gate_weight);
  const GateGradientRows rows{width,
                              MatrixOf(causal.raw),
                              MatrixOf(context.raw),
                              static_cast<float>(causal.scale),
                              static_cast<float>(context.scale),
                              MaskOf(dropout),
                              difference.data(),
                              MatrixOf(d_y),
                              MatrixOf(beta),
                              MatrixOf(gradients->causal_raw),
                              MatrixOf(gradients->context_raw)};
  const std::vector<float> sums =
      BlockSums(d_y.size(0), 4 * width + 1, [&](int64_t first, int64_t last, float* sum) {
        std::vector<float> scratch(static_cast<size_t>(width));
        ChosenLoops().rows->gate_gradient(rows, first, last, scratch.data(), sum);
      });
  AddTo(gradients->causal_bias, sums.data());
  AddTo(gradients->context_bias, sums.data() + width);
  float* d_weight = gradients->gate_weight.data_ptr<float>();
  float* d_bias = gradients->gate_bias.data_ptr<float>();
  for (int64_t c = 0; c < 2 * width; ++c) {
    d_weight[c] += sums[2 * width + c];
    d_weight[2 * width + c] -= sums[2 * width + c];
  }
  d_bias[0] += sums[4 * width];
  d_bias[1] -= sums[4 * width];
}

void LayerNormForward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                      at::Tensor y, at::Tensor mean, at::Tensor rstd) {
  const NormRows rows = NormOf(x, weight, bias, y, mean, rstd);
  at::parallel_for(0, x.size(0), kRowGrain, [&](int64_t first, int64_t last) {
    ChosenLoops().rows->norm(rows, first, last);
  });
}

void LayerNormBackward(const at::Tensor& d_y, const at::Tensor& x, const at::Tensor& weight,
                       const at::Tensor& mean, const at::Tensor& rstd, at::Tensor d_x) {
  const NormGradientRows rows{x.size(1),     Values(weight), MatrixOf(d_y), MatrixOf(x),
                              MatrixOf(d_x), Values(mean),   Values(rstd)};
  at::parallel_for(0, x.size(0), kRowGrain, [&](int64_t first, int64_t last) {
    ChosenLoops().rows->norm_gradient(rows, first, last);
  });
}

}  // namespace mixrec::model::cpu
