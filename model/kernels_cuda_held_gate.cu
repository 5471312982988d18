// The gate over rows held in registers. Backward: one pass that reads the mix's gradient and both
// experts once and adds up the gradients of gate and biases on its way.
#include <algorithm>

#include "model/kernels_cuda_columns.cuh"
#include "model/kernels_cuda_held.cuh"

namespace mixrec::model::cuda {
namespace {

constexpr int kGateWarps = 4;
constexpr int kMostBlocks = 264;  // of the backward pass: two for each multiprocessor of an H100
constexpr int kGateSums = 4;

// Differences of the gate's two rows, [2 * columns] in shared memory: only the difference of the
// two logits matters.
__device__ __forceinline__ void LoadDifferences(const Parameter& weight, int columns, float* to) {
#pragma unroll 4
  for (int c = threadIdx.x * kHeldPack; c < 2 * columns; c += blockDim.x * kHeldPack) {
    float first[kHeldPack], second[kHeldPack];
    weight.Get(c, first);
    weight.Get(2 * columns + c, second);
#pragma unroll
    for (int i = 0; i < kHeldPack; ++i) first[i] -= second[i];
    Store(first, to + c);
  }
  __syncthreads();
}

template <typename T>
struct Expert {
  Matrix<T> raw, extra;
  Parameter bias;
  float scale;
  bool is_finished;  // raw is the value
};

template <typename T>
Expert<T> ExpertOf(const Branch& branch) {
  const bool finished = branch.scale == 1.0 && !branch.bias.defined() && !branch.extra.defined();
  return {MatrixOf<T>(branch.raw), MatrixOf<T>(branch.extra), ParameterOf(branch.bias),
          static_cast<float>(branch.scale), finished};
}

// scale * (raw + bias + extra), rounded as stored, to where raw was.
template <typename T, int kPacks>
__device__ __forceinline__ void Finish(const Expert<T>& expert, int64_t row, int columns,
                                       HeldRow<kPacks>* value) {
  value->Load(expert.raw.row(row), columns);
  if (expert.is_finished) return;
  HeldRow<kPacks> more;
  more.Load(expert.bias, columns);
  ForHeld<kPacks>(columns, [&](int p, int i, int) { value->at[p][i] += more.at[p][i]; });
  if (expert.extra.data != nullptr) {
    more.Load(expert.extra.row(row), columns);
    ForHeld<kPacks>(columns, [&](int p, int i, int) { value->at[p][i] += more.at[p][i]; });
  }
  ForHeld<kPacks>(columns, [&](int p, int i, int) {
    value->at[p][i] = ToFloat(FromFloat<T>(expert.scale * value->at[p][i]));
  });
  value->Store(expert.raw.row(row), columns);
}

template <typename T, int kPacks>
__global__ void __launch_bounds__(kGateWarps* kWarp)
    GateKernel(Expert<T> causal, Expert<T> context, Parameter weight, Parameter bias,
               Matrix<T> residual, DeviceDropout dropout, int64_t rows, int columns, Matrix<T> y,
               Matrix<float> beta, NormArguments<T> norm) {
  extern __shared__ __align__(16) float differences[];
  LoadDifferences(weight, columns, differences);
  float bias0[1], bias1[1];
  bias.Get(0, bias0);
  bias.Get(1, bias1);
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * kGateWarps + threadIdx.x / kWarp;
       row < rows; row += static_cast<int64_t>(gridDim.x) * kGateWarps) {
    HeldRow<kPacks> q, p, sum;
    sum.Load(residual.row(row), columns);
    Finish(causal, row, columns, &q);
    Finish(context, row, columns, &p);
    float logit = 0.0f;
    ForHeld<kPacks>(columns, [&](int k, int i, int c) {
      logit += differences[c] * q.at[k][i] + differences[columns + c] * p.at[k][i];
    });
    logit = WarpSum(logit) + bias0[0] - bias1[0];
    const float beta0 = 1.0f / (1.0f + expf(-logit));
    const uint32_t seed = dropout.RowSeed(row);
    ForHeld<kPacks>(columns, [&](int k, int i, int c) {
      sum.at[k][i] += dropout.Factor(seed, c) * (p.at[k][i] + beta0 * (q.at[k][i] - p.at[k][i]));
    });
    StoreSum(y, norm, row, columns, &sum);
    if (threadIdx.x % kWarp == 0) {
      beta.row(row)[0] = beta0;
      beta.row(row)[1] = 1.0f - beta0;
    }
  }
}

template <typename T>
struct GateArguments {
  Matrix<T> d_y, q, p, d_causal, d_context;
  float causal_scale, context_scale;
  Parameter weight;
  Matrix<float> beta;
  DeviceDropout dropout;
  int64_t rows;
  int columns;
  float* partial;  // [blocks, kGateSums, columns]: both branches' gradients, d_logit times q, p
  float* partial_logit;  // [blocks] sums of d_logit
};

// A block's sums of one kind, held by its warps, to `to` [columns]; `room` [kGateWarps, columns].
template <int kPacks>
__device__ __forceinline__ void StoreBlockSum(const HeldRow<kPacks>& sum, int columns, float* room,
                                              float* to) {
  __syncthreads();
  sum.Store(room + threadIdx.x / kWarp * columns, columns);
  __syncthreads();
  for (int c = threadIdx.x; c < columns; c += blockDim.x) {
    float total = room[c];
    for (int w = 1; w < kGateWarps; ++w) total += room[w * columns + c];
    to[c] = total;
  }
}

template <typename T, int kPacks>
__global__ void __launch_bounds__(kGateWarps* kWarp) GateGradientKernel(GateArguments<T> a) {
  extern __shared__ __align__(
      16) float room[];  // [2, columns] differences, [kGateWarps, columns], [kGateWarps]
  const int columns = a.columns;
  float* sums_room = room + 2 * columns;
  float* logit_room = sums_room + kGateWarps * columns;
  LoadDifferences(a.weight, columns, room);
  HeldRow<kPacks> sums[kGateSums];
#pragma unroll
  for (int s = 0; s < kGateSums; ++s) {
    ForHeld<kPacks>(kPacks * kWarp * kHeldPack,
                    [&](int k, int i, int) { sums[s].at[k][i] = 0.0f; });
  }
  float logit_sum = 0.0f;
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * kGateWarps + threadIdx.x / kWarp;
       row < a.rows; row += static_cast<int64_t>(gridDim.x) * kGateWarps) {
    HeldRow<kPacks> d_mix, q, p;
    d_mix.Load(a.d_y.row(row), columns);
    q.Load(a.q.row(row), columns);
    p.Load(a.p.row(row), columns);
    const float beta0 = a.beta.row(row)[0], beta1 = a.beta.row(row)[1];
    const uint32_t seed = a.dropout.RowSeed(row);
    float d_logit = 0.0f;
    ForHeld<kPacks>(columns, [&](int k, int i, int c) {
      d_mix.at[k][i] *= a.dropout.Factor(seed, c);
      d_logit += d_mix.at[k][i] * (q.at[k][i] - p.at[k][i]);
    });
    d_logit = beta0 * beta1 * WarpSum(d_logit);
    logit_sum += d_logit;
    ForHeld<kPacks>(columns, [&](int k, int i, int c) {
      sums[2].at[k][i] += d_logit * q.at[k][i];
      sums[3].at[k][i] += d_logit * p.at[k][i];
      q.at[k][i] = a.causal_scale * (beta0 * d_mix.at[k][i] + d_logit * room[c]);
      p.at[k][i] = a.context_scale * (beta1 * d_mix.at[k][i] + d_logit * room[columns + c]);
      sums[0].at[k][i] += q.at[k][i];
      sums[1].at[k][i] += p.at[k][i];
    });
    q.Store(a.d_causal.row(row), columns);
    p.Store(a.d_context.row(row), columns);
  }
#pragma unroll
  for (int s = 0; s < kGateSums; ++s) {
    StoreBlockSum(sums[s], columns, sums_room,
                  a.partial + (static_cast<int64_t>(blockIdx.x) * kGateSums + s) * columns);
  }
  if (threadIdx.x % kWarp == 0) logit_room[threadIdx.x / kWarp] = logit_sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int w = 1; w < kGateWarps; ++w) logit_sum += logit_room[w];
  a.partial_logit[blockIdx.x] = logit_sum;
}

// One warp: adds the sum of d_logit to the gate's first bias, subtracts it from the second.
__global__ void __launch_bounds__(kWarp)
    LogitSumKernel(const float* partial, int count, float* d_bias) {
  float sum = 0.0f;
  for (int i = threadIdx.x; i < count; i += kWarp) sum += partial[i];
  sum = WarpSum(sum);
  if (threadIdx.x != 0) return;
  d_bias[0] += sum;
  d_bias[1] -= sum;
}

template <typename T>
GateArguments<T> ArgumentsOf(const at::Tensor& d_y, const Branch& causal, const Branch& context,
                             const at::Tensor& gate_weight, const at::Tensor& beta,
                             const Dropout& dropout, const GateGradients& gradients,
                             const at::Tensor& partial, const at::Tensor& partial_logit) {
  GateArguments<T> a;
  a.d_y = MatrixOf<T>(d_y);
  a.q = MatrixOf<T>(causal.raw);
  a.p = MatrixOf<T>(context.raw);
  a.d_causal = MatrixOf<T>(gradients.causal_raw);
  a.d_context = MatrixOf<T>(gradients.context_raw);
  a.causal_scale = static_cast<float>(causal.scale);
  a.context_scale = static_cast<float>(context.scale);
  a.weight = ParameterOf(gate_weight);
  a.beta = MatrixOf<float>(beta);
  a.dropout = DropoutOf(dropout);
  a.rows = d_y.size(0);
  a.columns = static_cast<int>(d_y.size(1));
  a.partial = Data<float>(partial);
  a.partial_logit = Data<float>(partial_logit);
  return a;
}

float* SumOrNull(const at::Tensor& tensor) {
  if (!tensor.defined()) return nullptr;
  CHECK(tensor.is_contiguous()) << "gradients of parameters must be contiguous";
  return Data<float>(tensor);
}

// partial [blocks, kGateSums, columns] and partial_logit [blocks] to the gradients they belong to.
void AddUp(const at::Tensor& partial, const at::Tensor& partial_logit,
           const GateGradients& gradients) {
  const int64_t width = partial.size(2);
  SumTargets targets;
  targets.of[0].plus = SumOrNull(gradients.causal_bias);
  targets.of[1].plus = SumOrNull(gradients.context_bias);
  float* d_weight = SumOrNull(gradients.gate_weight);
  targets.of[2] = {d_weight, d_weight + 2 * width};
  targets.of[3] = {d_weight + width, d_weight + 3 * width};
  AddPartialSums(partial, targets);
  LogitSumKernel<<<1, kWarp, 0, c10::cuda::getCurrentCUDAStream()>>>(
      Data<float>(partial_logit), static_cast<int>(partial_logit.numel()),
      SumOrNull(gradients.gate_bias));
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace

void HeldGateForward(const Branch& causal, const Branch& context, const at::Tensor& gate_weight,
                     const at::Tensor& gate_bias, const at::Tensor& residual,
                     const Dropout& dropout, const at::Tensor& y, const at::Tensor& beta,
                     const FollowingNorm& norm) {
  const auto blocks =
      static_cast<unsigned>(std::min<int64_t>(8 * 132, CeilDivide(y.size(0), kGateWarps)));
  const size_t shared_bytes = 2 * static_cast<size_t>(y.size(1)) * sizeof(float);
  WithElement(y, [&](auto element) {
    using T = decltype(element);
    WithHeldPacks(y.size(1), [&](auto packs) {
      GateKernel<T, decltype(packs)::value>
          <<<blocks, kGateWarps * kWarp, shared_bytes, c10::cuda::getCurrentCUDAStream()>>>(
              ExpertOf<T>(causal), ExpertOf<T>(context), ParameterOf(gate_weight),
              ParameterOf(gate_bias), MatrixOf<T>(residual), DropoutOf(dropout), y.size(0),
              static_cast<int>(y.size(1)), MatrixOf<T>(y), MatrixOf<float>(beta), NormOf<T>(norm));
    });
  });
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

void HeldGateBackward(const at::Tensor& d_y, const Branch& causal, const Branch& context,
                      const at::Tensor& gate_weight, const at::Tensor& beta, const Dropout& dropout,
                      const GateGradients& gradients) {
  const int64_t width = d_y.size(1);
  const int64_t blocks = std::min<int64_t>(kMostBlocks, CeilDivide(d_y.size(0), 2 * kGateWarps));
  const auto fp32 = beta.options().dtype(at::kFloat);
  const at::Tensor partial = at::empty({blocks, kGateSums, width}, fp32);
  const at::Tensor partial_logit = at::empty({blocks}, fp32);
  const size_t shared_bytes =
      sizeof(float) *
      (static_cast<size_t>(2 + kGateWarps) * static_cast<size_t>(width) + kGateWarps);
  const auto stream = c10::cuda::getCurrentCUDAStream();
  WithElement(d_y, [&](auto element) {
    using T = decltype(element);
    WithHeldPacks(width, [&](auto packs) {
      GateGradientKernel<T, decltype(packs)::value>
          <<<static_cast<unsigned>(blocks), kGateWarps * kWarp, shared_bytes, stream>>>(
              ArgumentsOf<T>(d_y, causal, context, gate_weight, beta, dropout, gradients, partial,
                             partial_logit));
    });
  });
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  const auto add_up = [&] { AddUp(partial, partial_logit, gradients); };
  if (gradients.side == nullptr) return add_up();
  gradients.side->Run({partial, partial_logit}, add_up);
}

}  // namespace mixrec::model::cuda
