// Row-wise passes of a DAMoE layer on the CPU: one read and one write of each tensor a pass.
// Compiled for several processors: see loops.h for what may be included.
#include "model/dropout_hash.h"
#include "model/loops.h"

namespace mixrec::model::cpu::MIXREC_LOOPS {
namespace {

constexpr float kLayerNormEpsilon = 1e-5f;

float* Row(const Matrix& matrix, int64_t row) {
  return matrix.data == nullptr ? nullptr : matrix.data + row * matrix.stride;
}

// values[c] *= 0 or 1 / (1 - probability).
void ApplyMask(const MaskRows& mask, int64_t row, int64_t width, float* values) {
  if (mask.keys == nullptr) return;
  const uint32_t seed = DropoutRowSeed(static_cast<uint64_t>(mask.keys[row]), mask.site);
  for (int64_t c = 0; c < width; ++c) {
    const bool kept = DropoutBits(seed, static_cast<uint32_t>(c)) >= mask.threshold;
    values[c] = kept ? values[c] * mask.keep : 0.0f;
  }
}

// The branch's value into `to`, which may be raw. What is missing is decided outside the loop: to
// load from null under an empty mask costs the processor a hundred cycles.
void Finish(const BranchRows& branch, int64_t row, int64_t width, float* to) {
  const float *raw = Row(branch.raw, row), *extra = Row(branch.extra, row), *bias = branch.bias;
  const float scale = branch.scale;
  if (bias != nullptr && extra != nullptr) {
    for (int64_t c = 0; c < width; ++c) to[c] = scale * (raw[c] + bias[c] + extra[c]);
  } else if (bias != nullptr || extra != nullptr) {
    const float* addend = bias != nullptr ? bias : extra;
    for (int64_t c = 0; c < width; ++c) to[c] = scale * (raw[c] + addend[c]);
  } else {
    for (int64_t c = 0; c < width; ++c) to[c] = scale * raw[c];
  }
}

void Add(const float* a, const float* b, int64_t width, float* to) {
  for (int64_t c = 0; c < width; ++c) to[c] = a[c] + b[c];
}

void Residual(const ResidualRows& rows, int64_t first, int64_t last, float* value) {
  for (int64_t row = first; row < last; ++row) {
    Finish(rows.branch, row, rows.width, value);
    ApplyMask(rows.mask, row, rows.width, value);
    Add(Row(rows.residual, row), value, rows.width, Row(rows.y, row));
  }
}

void ResidualGradient(const ResidualGradientRows& rows, int64_t first, int64_t last, float* sums) {
  for (int64_t row = first; row < last; ++row) {
    const float* in = Row(rows.d_y, row);
    float* out = Row(rows.d_raw, row);
    for (int64_t c = 0; c < rows.width; ++c) out[c] = rows.scale * in[c];
    ApplyMask(rows.mask, row, rows.width, out);
    Add(sums, out, rows.width, sums);
  }
}

void Gate(const GateRows& rows, int64_t first, int64_t last, float* mix) {
  const int64_t width = rows.width;
  const float *q_weight = rows.difference, *p_weight = q_weight + width;
  for (int64_t row = first; row < last; ++row) {
    float *q = Row(rows.causal.raw, row), *p = Row(rows.context.raw, row);
    Finish(rows.causal, row, width, q);
    Finish(rows.context, row, width, p);
    float logit = rows.bias;
    for (int64_t c = 0; c < width; ++c) logit += q_weight[c] * q[c] + p_weight[c] * p[c];
    const float beta0 = 1.0f / (1.0f + __builtin_expf(-logit));
    Row(rows.beta, row)[0] = beta0;
    Row(rows.beta, row)[1] = 1.0f - beta0;
    for (int64_t c = 0; c < width; ++c) mix[c] = p[c] + beta0 * (q[c] - p[c]);
    ApplyMask(rows.mask, row, width, mix);
    Add(Row(rows.residual, row), mix, width, Row(rows.y, row));
  }
}

// One row of the gate's backward pass; `mix` is the mix's gradient.
void GateGradientRow(const GateGradientRows& rows, int64_t row, const float* __restrict mix,
                     float* __restrict sums) {
  const int64_t width = rows.width;
  const float* __restrict q = Row(rows.q, row), * __restrict p = Row(rows.p, row);
  const float* __restrict q_weight = rows.difference, * __restrict p_weight = q_weight + width;
  float* __restrict d_q = Row(rows.d_q, row), * __restrict d_p = Row(rows.d_p, row);
  float d_difference = 0.0f;  // d beta_0 - d beta_1
  for (int64_t c = 0; c < width; ++c) d_difference += mix[c] * (q[c] - p[c]);
  const float beta0 = Row(rows.beta, row)[0], beta1 = Row(rows.beta, row)[1];
  const float d_logit = beta0 * beta1 * d_difference;
  for (int64_t c = 0; c < width; ++c) {
    d_q[c] = rows.q_scale * (beta0 * mix[c] + d_logit * q_weight[c]);
    d_p[c] = rows.p_scale * (beta1 * mix[c] + d_logit * p_weight[c]);
    sums[c] += d_q[c];
    sums[width + c] += d_p[c];
    sums[2 * width + c] += d_logit * q[c];
    sums[3 * width + c] += d_logit * p[c];
  }
  sums[4 * width] += d_logit;
}

void GateGradient(const GateGradientRows& rows, int64_t first, int64_t last, float* mix,
                  float* sums) {
  for (int64_t row = first; row < last; ++row) {
    const float* from = Row(rows.d_y, row);
    for (int64_t c = 0; c < rows.width; ++c) mix[c] = from[c];
    ApplyMask(rows.mask, row, rows.width, mix);
    GateGradientRow(rows, row, mix, sums);
  }
}

void Norm(const NormRows& rows, int64_t first, int64_t last) {
  const int64_t width = rows.width;
  const float share = 1.0f / static_cast<float>(width);
  for (int64_t row = first; row < last; ++row) {
    const float* in = Row(rows.x, row);
    float* out = Row(rows.y, row);
    float sum = 0.0f;
    for (int64_t c = 0; c < width; ++c) sum += in[c];
    const float m = sum * share;
    float squares = 0.0f;
    for (int64_t c = 0; c < width; ++c) squares += (in[c] - m) * (in[c] - m);
    const float r = 1.0f / __builtin_sqrtf(squares * share + kLayerNormEpsilon);
    for (int64_t c = 0; c < width; ++c) out[c] = (in[c] - m) * r * rows.weight[c] + rows.bias[c];
    rows.mean[row] = m;
    rows.rstd[row] = r;
  }
}

void NormGradient(const NormGradientRows& rows, int64_t first, int64_t last) {
  const int64_t width = rows.width;
  const float share = 1.0f / static_cast<float>(width);
  const float* w = rows.weight;
  for (int64_t row = first; row < last; ++row) {
    const float *g = Row(rows.d_y, row), *v = Row(rows.x, row);
    const float m = rows.mean[row], r = rows.rstd[row];
    float sum = 0.0f, projection = 0.0f;
    for (int64_t c = 0; c < width; ++c) {
      const float scaled = g[c] * w[c];
      sum += scaled;
      projection += scaled * (v[c] - m) * r;
    }
    sum *= share;
    projection *= share;
    float* out = Row(rows.d_x, row);
    for (int64_t c = 0; c < width; ++c) {
      out[c] += r * (g[c] * w[c] - sum - (v[c] - m) * r * projection);
    }
  }
}

}  // namespace

extern const RowLoops kRowLoops;
constexpr RowLoops kRowLoops{Residual, ResidualGradient, Gate, GateGradient, Norm, NormGradient};

}  // namespace mixrec::model::cpu::MIXREC_LOOPS
