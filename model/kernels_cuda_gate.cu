// The gate on the GPU: finishes both experts and mixes them. Only the difference of the two logits
// matters, so beta_0 is its sigmoid.
#include "model/kernels_cuda_columns.cuh"
#include "model/kernels_cuda_held.cuh"

namespace mixrec::model::cuda {
namespace {

constexpr int kRowWarps = 4;

// scale * (raw + bias + extra).
template <typename T>
struct BranchArguments {
  Matrix<T> raw, extra;
  Parameter bias;
  float scale = 1.0f;
};

template <typename T>
BranchArguments<T> BranchOf(const Branch& branch) {
  return {MatrixOf<T>(branch.raw), MatrixOf<T>(branch.extra), ParameterOf(branch.bias),
          static_cast<float>(branch.scale)};
}

// Finishes columns [c, c + kPack) of a row in place; `value` as stored, rounded to T.
template <typename T, int kPack>
__device__ __forceinline__ void Finish(const BranchArguments<T>& branch, int64_t row, int c,
                                       float (&value)[kPack]) {
  float shift[kPack], more[kPack] = {};
  Load(branch.raw.row(row) + c, value);
  branch.bias.Get(c, shift);
  if (branch.extra.data != nullptr) Load(branch.extra.row(row) + c, more);
#pragma unroll
  for (int i = 0; i < kPack; ++i) {
    value[i] = ToFloat(FromFloat<T>(branch.scale * (value[i] + shift[i] + more[i])));
  }
  Store(value, branch.raw.row(row) + c);
}

// Difference of the gate's two rows from column c on.
template <int kPack>
__device__ __forceinline__ void GateDifference(const Parameter& weight, int width, int c,
                                               float (&difference)[kPack]) {
  float second[kPack];
  weight.Get(c, difference);
  weight.Get(2 * width + c, second);
#pragma unroll
  for (int i = 0; i < kPack; ++i) difference[i] -= second[i];
}

template <typename T, int kPack>
__global__ void __launch_bounds__(kRowWarps* kWarp)
    GateForwardKernel(BranchArguments<T> causal, BranchArguments<T> context, Parameter weight,
                      Parameter bias, Matrix<T> residual, DeviceDropout dropout, int64_t rows,
                      int width, Matrix<T> y, Matrix<float> beta) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / kWarp;
  if (row >= rows) return;
  const int first = threadIdx.x % kWarp * kPack;
  float q[kPack], p[kPack], difference[kPack], sum[kPack];
  float logit = 0.0f;
  for (int c = first; c < width; c += kWarp * kPack) {
    Finish(causal, row, c, q);
    GateDifference(weight, width, c, difference);
#pragma unroll
    for (int i = 0; i < kPack; ++i) logit += difference[i] * q[i];
    Finish(context, row, c, p);
    GateDifference(weight, width, width + c, difference);
#pragma unroll
    for (int i = 0; i < kPack; ++i) logit += difference[i] * p[i];
  }
  float bias0[1], bias1[1];
  bias.Get(0, bias0);
  bias.Get(1, bias1);
  logit = WarpSum(logit) + bias0[0] - bias1[0];
  const float beta0 = 1.0f / (1.0f + expf(-logit));
  const uint32_t seed = dropout.RowSeed(row);
  // A lane reads back only what it has written itself.
  for (int c = first; c < width; c += kWarp * kPack) {
    Load(causal.raw.row(row) + c, q);
    Load(context.raw.row(row) + c, p);
    Load(residual.row(row) + c, sum);
#pragma unroll
    for (int i = 0; i < kPack; ++i) {
      sum[i] += dropout.Factor(seed, c + i) * (p[i] + beta0 * (q[i] - p[i]));
    }
    Store(sum, y.row(row) + c);
  }
  if (first == 0) {
    beta.row(row)[0] = beta0;
    beta.row(row)[1] = 1.0f - beta0;
  }
}

// d_logit [R]: gradient of the difference of the logits.
template <typename T, int kPack>
__global__ void __launch_bounds__(kRowWarps* kWarp)
    LogitGradientKernel(Matrix<T> d_y, Matrix<T> q_rows, Matrix<T> p_rows, Matrix<float> beta,
                        DeviceDropout dropout, int64_t rows, int width, float* d_logit) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / kWarp;
  if (row >= rows) return;
  const int first = threadIdx.x % kWarp * kPack;
  const uint32_t seed = dropout.RowSeed(row);
  float d_mix[kPack], q[kPack], p[kPack];
  float sum = 0.0f;
  for (int c = first; c < width; c += kWarp * kPack) {
    Load(d_y.row(row) + c, d_mix);
    Load(q_rows.row(row) + c, q);
    Load(p_rows.row(row) + c, p);
#pragma unroll
    for (int i = 0; i < kPack; ++i) {
      sum += dropout.Factor(seed, c + i) * d_mix[i] * (q[i] - p[i]);
    }
  }
  sum = WarpSum(sum);
  if (first == 0) d_logit[row] = beta.row(row)[0] * beta.row(row)[1] * sum;
}

template <typename T>
struct GateBackwardArguments {
  Matrix<T> d_y, q, p, d_causal, d_context;
  float causal_scale, context_scale;
  Parameter weight;
  Matrix<float> beta;
  const float* d_logit;
  DeviceDropout dropout;
};

// Column sums of a slab, in this order: both branches' gradients, d_logit times q and times p.
constexpr int kGateSums = 4;

template <typename T, int kPack>
__global__ void __launch_bounds__(kSlabWarps* kWarp)
    GateBackwardKernel(GateBackwardArguments<T> a, Slabs slabs, float* partial) {
  const int column = static_cast<int>((blockIdx.x * kWarp + threadIdx.x % kWarp) * kPack);
  const int width = static_cast<int>(slabs.columns);
  const int64_t begin = blockIdx.y * slabs.slab_rows;
  const int64_t end = min(begin + slabs.slab_rows, slabs.rows);
  float sums[kGateSums][kPack] = {};
  if (column < width) {
    float causal_gate[kPack], context_gate[kPack], d_mix[kPack], q[kPack], p[kPack];
    GateDifference(a.weight, width, column, causal_gate);
    GateDifference(a.weight, width, width + column, context_gate);
    for (int64_t row = begin + threadIdx.x / kWarp; row < end; row += kSlabWarps) {
      const uint32_t seed = a.dropout.RowSeed(row);
      const float d_logit = a.d_logit[row];
      const float beta0 = a.beta.row(row)[0], beta1 = a.beta.row(row)[1];
      Load(a.d_y.row(row) + column, d_mix);
      Load(a.q.row(row) + column, q);
      Load(a.p.row(row) + column, p);
#pragma unroll
      for (int i = 0; i < kPack; ++i) {
        d_mix[i] *= a.dropout.Factor(seed, column + i);
        sums[2][i] += d_logit * q[i];
        sums[3][i] += d_logit * p[i];
        q[i] = a.causal_scale * (beta0 * d_mix[i] + d_logit * causal_gate[i]);
        p[i] = a.context_scale * (beta1 * d_mix[i] + d_logit * context_gate[i]);
        sums[0][i] += q[i];
        sums[1][i] += p[i];
      }
      Store(q, a.d_causal.row(row) + column);
      Store(p, a.d_context.row(row) + column);
    }
  }
  StorePartialSums(sums, slabs.columns, partial);
}

// One block: adds the sum of d_logit to the gate's first bias, subtracts it from the second.
__global__ void __launch_bounds__(kSlabWarps* kWarp)
    GateBiasKernel(const float* d_logit, int64_t rows, float* d_bias) {
  __shared__ float shared[kSlabWarps];
  float sum = 0.0f;
  for (int64_t row = threadIdx.x; row < rows; row += blockDim.x) sum += d_logit[row];
  sum = WarpSum(sum);
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int w = 1; w < kSlabWarps; ++w) sum += shared[w];
  d_bias[0] += sum;
  d_bias[1] -= sum;
}

template <typename T, int kPack>
void LaunchGateForward(const Branch& causal, const Branch& context, const at::Tensor& gate_weight,
                       const at::Tensor& gate_bias, const at::Tensor& residual,
                       const Dropout& dropout, const at::Tensor& y, const at::Tensor& beta) {
  const auto blocks = static_cast<unsigned>(CeilDivide(y.size(0), kRowWarps));
  GateForwardKernel<T, kPack><<<blocks, kRowWarps * kWarp, 0, c10::cuda::getCurrentCUDAStream()>>>(
      BranchOf<T>(causal), BranchOf<T>(context), ParameterOf(gate_weight), ParameterOf(gate_bias),
      MatrixOf<T>(residual), DropoutOf(dropout), y.size(0), static_cast<int>(y.size(1)),
      MatrixOf<T>(y), MatrixOf<float>(beta));
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename T, int kPack>
void LaunchGateBackward(const at::Tensor& d_y, const Branch& causal, const Branch& context,
                        const at::Tensor& gate_weight, const at::Tensor& beta,
                        const Dropout& dropout, const GateGradients& gradients, const Slabs& slabs,
                        const at::Tensor& d_logit, const at::Tensor& partial) {
  GateBackwardArguments<T> a;
  a.d_y = MatrixOf<T>(d_y);
  a.q = MatrixOf<T>(causal.raw);
  a.p = MatrixOf<T>(context.raw);
  a.d_causal = MatrixOf<T>(gradients.causal_raw);
  a.d_context = MatrixOf<T>(gradients.context_raw);
  a.causal_scale = static_cast<float>(causal.scale);
  a.context_scale = static_cast<float>(context.scale);
  a.weight = ParameterOf(gate_weight);
  a.beta = MatrixOf<float>(beta);
  a.d_logit = Data<float>(d_logit);
  a.dropout = DropoutOf(dropout);
  const auto stream = c10::cuda::getCurrentCUDAStream();
  const auto blocks = static_cast<unsigned>(CeilDivide(slabs.rows, kRowWarps));
  LogitGradientKernel<T, kPack><<<blocks, kRowWarps * kWarp, 0, stream>>>(
      a.d_y, a.q, a.p, a.beta, a.dropout, slabs.rows, static_cast<int>(slabs.columns),
      Data<float>(d_logit));
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  GateBackwardKernel<T, kPack>
      <<<slabs.grid(kPack), kSlabWarps * kWarp, 0, stream>>>(a, slabs, Data<float>(partial));
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

float* SumsOrNull(const at::Tensor& tensor) {
  if (!tensor.defined()) return nullptr;
  CHECK(tensor.is_contiguous()) << "gradients of parameters must be contiguous";
  return Data<float>(tensor);
}

}  // namespace

void GateForward(Branch* causal, Branch* context, const at::Tensor& gate_weight,
                 const at::Tensor& gate_bias, const at::Tensor& residual, const Dropout& dropout,
                 at::Tensor y, at::Tensor beta, const FollowingNorm& norm) {
  if (y.numel() == 0) return;
  const c10::cuda::CUDAGuard guard(y.device());
  if (CanHold(y.size(1), causal->raw, causal->bias, causal->extra, context->raw, context->bias,
              context->extra, residual, y, norm.weight, norm.bias, norm.y)) {
    return HeldGateForward(*causal, *context, gate_weight, gate_bias, residual, dropout, y, beta,
                           norm);
  }
  const bool packs = AllowPacks(y.size(1), causal->raw, causal->bias, causal->extra, context->raw,
                                context->bias, context->extra, gate_weight, residual, y);
  WithElement(y, [&](auto element) {
    using T = decltype(element);
    (packs ? LaunchGateForward<T, 8> : LaunchGateForward<T, 1>)(*causal, *context, gate_weight,
                                                                gate_bias, residual, dropout, y,
                                                                beta);
  });
  if (norm.weight.defined()) {
    LayerNormForward(y, norm.weight, norm.bias, norm.y, norm.mean, norm.rstd);
  }
}

void GateBackward(const at::Tensor& d_y, const Branch& causal, const Branch& context,
                  const at::Tensor& gate_weight, const at::Tensor& beta, const Dropout& dropout,
                  GateGradients* gradients) {
  if (d_y.numel() == 0) return;
  const c10::cuda::CUDAGuard guard(d_y.device());
  if (CanHold(d_y.size(1), d_y, causal.raw, context.raw, gradients->causal_raw,
              gradients->context_raw)) {
    return HeldGateBackward(d_y, causal, context, gate_weight, beta, dropout, *gradients);
  }
  const Slabs slabs = SlabsOf(d_y.size(0), d_y.size(1));
  const auto fp32 = beta.options().dtype(at::kFloat);
  const at::Tensor d_logit = at::empty({slabs.rows}, fp32);
  const at::Tensor partial = at::empty({slabs.slabs, kGateSums, slabs.columns}, fp32);
  const bool packs = AllowPacks(slabs.columns, d_y, causal.raw, context.raw, gate_weight,
                                gradients->causal_raw, gradients->context_raw);
  WithElement(d_y, [&](auto element) {
    using T = decltype(element);
    (packs ? LaunchGateBackward<T, 8> : LaunchGateBackward<T, 1>)(d_y, causal, context, gate_weight,
                                                                  beta, dropout, *gradients, slabs,
                                                                  d_logit, partial);
  });
  SumTargets targets;
  targets.of[0].plus = SumsOrNull(gradients->causal_bias);
  targets.of[1].plus = SumsOrNull(gradients->context_bias);
  float* d_weight = SumsOrNull(gradients->gate_weight);
  const int64_t width = slabs.columns;
  targets.of[2] = {d_weight, d_weight + 2 * width};
  targets.of[3] = {d_weight + width, d_weight + 3 * width};
  AddPartialSums(partial, targets);
  GateBiasKernel<<<1, kSlabWarps * kWarp, 0, c10::cuda::getCurrentCUDAStream()>>>(
      Data<float>(d_logit), slabs.rows, SumsOrNull(gradients->gate_bias));
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace mixrec::model::cuda
