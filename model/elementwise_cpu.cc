// Row-wise passes of a DAMoE layer on the CPU: one read and one write of each tensor a pass.
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "model/kernels_cpu.h"

namespace mixrec::model::cpu {
namespace {

constexpr int64_t kBlocks =
    32;  // column sums are added block by block: the same for any thread count
constexpr int64_t kRowGrain = 16;
constexpr float kLayerNormEpsilon = 1e-5f;

// Rows of a matrix; a null matrix has null rows.
struct Rows {
  float* data = nullptr;
  int64_t stride = 0;
  explicit Rows(const at::Tensor& tensor) {
    if (!tensor.defined()) return;
    data = tensor.data_ptr<float>();
    stride = tensor.stride(0);
  }
  float* operator[](int64_t row) const { return data == nullptr ? nullptr : data + row * stride; }
};

const float* Values(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.data_ptr<float>() : nullptr;
}

class DropoutMask {
 public:
  explicit DropoutMask(const Dropout& dropout)
      : active_(dropout.probability > 0.0),
        keys_(active_ ? dropout.row_keys.data_ptr<int64_t>() : nullptr),
        site_(dropout.site),
        threshold_(DropoutThreshold(dropout.probability)),
        keep_(static_cast<float>(1.0 / (1.0 - dropout.probability))) {}

  // row[c] *= 0 or 1 / (1 - probability).
  void Apply(int64_t row, float* values, int64_t width) const {
    if (!active_) return;
    const uint32_t seed = DropoutRowSeed(static_cast<uint64_t>(keys_[row]), site_);
    for (int64_t c = 0; c < width; ++c) {
      const bool kept = DropoutBits(seed, static_cast<uint32_t>(c)) >= threshold_;
      values[c] = kept ? values[c] * keep_ : 0.0f;
    }
  }

 private:
  const bool active_;
  const int64_t* keys_;
  const uint64_t site_;
  const uint32_t threshold_;
  const float keep_;
};

// value = scale * (raw + bias + extra), into `to` (which may be raw).
void FinishRow(const float* raw, const float* bias, const float* extra, float scale, float* to,
               int64_t width) {
  for (int64_t c = 0; c < width; ++c) {
    float value = raw[c];
    if (bias != nullptr) value += bias[c];
    if (extra != nullptr) value += extra[c];
    to[c] = scale * value;
  }
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

void Follow(const FollowingNorm& norm, const at::Tensor& y) {
  if (!norm.weight.defined()) return;
  LayerNormForward(y, norm.weight, norm.bias, norm.y, norm.mean, norm.rstd);
}

}  // namespace

void ResidualForward(const Branch& branch, const at::Tensor& residual, const Dropout& dropout,
                     at::Tensor y, const FollowingNorm& norm) {
  const int64_t width = y.size(1);
  const Rows raw(branch.raw), extra(branch.extra), from(residual), to(y);
  const float* bias = Values(branch.bias);
  const DropoutMask mask(dropout);
  at::parallel_for(0, y.size(0), kRowGrain, [&](int64_t first, int64_t last) {
    std::vector<float> value(static_cast<size_t>(width));
    for (int64_t row = first; row < last; ++row) {
      FinishRow(raw[row], bias, extra[row], static_cast<float>(branch.scale), value.data(), width);
      mask.Apply(row, value.data(), width);
      const float* x = from[row];
      float* out = to[row];
      for (int64_t c = 0; c < width; ++c) out[c] = x[c] + value[c];
    }
  });
  Follow(norm, y);
}

void ResidualBackward(const at::Tensor& d_y, double scale, const Dropout& dropout, at::Tensor d_raw,
                      at::Tensor d_bias) {
  const int64_t width = d_y.size(1);
  const Rows from(d_y), to(d_raw);
  const DropoutMask mask(dropout);
  const std::vector<float> sums =
      BlockSums(d_y.size(0), width, [&](int64_t first, int64_t last, float* sum) {
        for (int64_t row = first; row < last; ++row) {
          const float* in = from[row];
          float* out = to[row];
          for (int64_t c = 0; c < width; ++c) out[c] = static_cast<float>(scale) * in[c];
          mask.Apply(row, out, width);
          for (int64_t c = 0; c < width; ++c) sum[c] += out[c];
        }
      });
  AddTo(d_bias, sums.data());
}

void GateForward(Branch* causal, Branch* context, const at::Tensor& gate_weight,
                 const at::Tensor& gate_bias, const at::Tensor& residual, const Dropout& dropout,
                 at::Tensor y, at::Tensor beta, const FollowingNorm& norm) {
  const int64_t width = y.size(1);
  const Rows q_rows(causal->raw), p_rows(context->raw), q_extra(causal->extra),
      p_extra(context->extra), from(residual), to(y), gates(beta);
  const float* q_bias = Values(causal->bias);
  const float* p_bias = Values(context->bias);
  const Rows weight(gate_weight);
  const float bias = Values(gate_bias)[0] - Values(gate_bias)[1];
  const DropoutMask mask(dropout);
  std::vector<float> difference(static_cast<size_t>(2 * width));
  for (int64_t c = 0; c < 2 * width; ++c) difference[c] = weight[0][c] - weight[1][c];
  at::parallel_for(0, y.size(0), kRowGrain, [&](int64_t first, int64_t last) {
    std::vector<float> mix(static_cast<size_t>(width));
    for (int64_t row = first; row < last; ++row) {
      float* q = q_rows[row];
      float* p = p_rows[row];
      FinishRow(q, q_bias, q_extra[row], static_cast<float>(causal->scale), q, width);
      FinishRow(p, p_bias, p_extra[row], static_cast<float>(context->scale), p, width);
      float logit = bias;
      for (int64_t c = 0; c < width; ++c) {
        logit += difference[c] * q[c] + difference[width + c] * p[c];
      }
      const float beta0 = 1.0f / (1.0f + std::exp(-logit));
      gates[row][0] = beta0;
      gates[row][1] = 1.0f - beta0;
      for (int64_t c = 0; c < width; ++c) mix[c] = p[c] + beta0 * (q[c] - p[c]);
      mask.Apply(row, mix.data(), width);
      const float* x = from[row];
      float* out = to[row];
      for (int64_t c = 0; c < width; ++c) out[c] = x[c] + mix[c];
    }
  });
  Follow(norm, y);
}

void GateBackward(const at::Tensor& d_y, const Branch& causal, const Branch& context,
                  const at::Tensor& gate_weight, const at::Tensor& beta, const Dropout& dropout,
                  GateGradients* gradients) {
  const int64_t width = d_y.size(1);
  const Rows from(d_y), q_rows(causal.raw), p_rows(context.raw), gates(beta),
      d_q_rows(gradients->causal_raw), d_p_rows(gradients->context_raw), weight(gate_weight);
  const DropoutMask mask(dropout);
  const float q_scale = static_cast<float>(causal.scale);
  const float p_scale = static_cast<float>(context.scale);
  std::vector<float> difference(static_cast<size_t>(2 * width));
  for (int64_t c = 0; c < 2 * width; ++c) difference[c] = weight[0][c] - weight[1][c];
  // A block's sums: causal bias [D], context bias [D], logit times [q ; p] [2D], logit [1].
  const std::vector<float> sums =
      BlockSums(d_y.size(0), 4 * width + 1, [&](int64_t first, int64_t last, float* sum) {
        std::vector<float> mix(static_cast<size_t>(width));
        for (int64_t row = first; row < last; ++row) {
          std::copy_n(from[row], width, mix.data());
          mask.Apply(row, mix.data(), width);
          const float* q = q_rows[row];
          const float* p = p_rows[row];
          float d_difference = 0.0f;  // d beta_0 - d beta_1
          for (int64_t c = 0; c < width; ++c) d_difference += mix[c] * (q[c] - p[c]);
          const float beta0 = gates[row][0], beta1 = gates[row][1];
          const float d_logit = beta0 * beta1 * d_difference;
          float* d_q = d_q_rows[row];
          float* d_p = d_p_rows[row];
          for (int64_t c = 0; c < width; ++c) {
            d_q[c] = q_scale * (beta0 * mix[c] + d_logit * difference[c]);
            d_p[c] = p_scale * (beta1 * mix[c] + d_logit * difference[width + c]);
            sum[c] += d_q[c];
            sum[width + c] += d_p[c];
            sum[2 * width + c] += d_logit * q[c];
            sum[3 * width + c] += d_logit * p[c];
          }
          sum[4 * width] += d_logit;
        }
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
  const int64_t width = x.size(1);
  const Rows from(x), to(y);
  const float *w = Values(weight), *b = Values(bias);
  float *means = mean.data_ptr<float>(), *rstds = rstd.data_ptr<float>();
  at::parallel_for(0, x.size(0), kRowGrain, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const float* in = from[row];
      float sum = 0.0f;
      for (int64_t c = 0; c < width; ++c) sum += in[c];
      const float m = sum / static_cast<float>(width);
      float squares = 0.0f;
      for (int64_t c = 0; c < width; ++c) squares += (in[c] - m) * (in[c] - m);
      const float r = 1.0f / std::sqrt(squares / static_cast<float>(width) + kLayerNormEpsilon);
      float* out = to[row];
      for (int64_t c = 0; c < width; ++c) out[c] = (in[c] - m) * r * w[c] + b[c];
      means[row] = m;
      rstds[row] = r;
    }
  });
}

void LayerNormBackward(const at::Tensor& d_y, const at::Tensor& x, const at::Tensor& weight,
                       const at::Tensor& mean, const at::Tensor& rstd, at::Tensor d_x) {
  const int64_t width = x.size(1);
  const Rows d_out(d_y), in(x), to(d_x);
  const float* w = Values(weight);
  const float *means = mean.data_ptr<float>(), *rstds = rstd.data_ptr<float>();
  at::parallel_for(0, x.size(0), kRowGrain, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const float *g = d_out[row], *v = in[row];
      const float m = means[row], r = rstds[row];
      float sum = 0.0f, projection = 0.0f;
      for (int64_t c = 0; c < width; ++c) {
        const float scaled = g[c] * w[c];
        sum += scaled;
        projection += scaled * (v[c] - m) * r;
      }
      sum /= static_cast<float>(width);
      projection /= static_cast<float>(width);
      float* out = to[row];
      for (int64_t c = 0; c < width; ++c) {
        out[c] += r * (g[c] * w[c] - sum - (v[c] - m) * r * projection);
      }
    }
  });
}

}  // namespace mixrec::model::cpu
