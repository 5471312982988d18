// Residual branches and layer norm on the GPU: one warp a row, or a block per slab of rows where
// column sums are wanted.
#include "model/kernels_cuda_columns.cuh"
#include "model/kernels_cuda_held.cuh"

namespace mixrec::model::cuda {
namespace {

constexpr int kRowWarps = 4;
constexpr float kEpsilon = 1e-5f;

unsigned RowBlocks(int64_t rows) { return static_cast<unsigned>(CeilDivide(rows, kRowWarps)); }

__device__ __forceinline__ int64_t WarpRow() {
  return static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / kWarp;
}

template <typename T, int kPack>
__global__ void __launch_bounds__(kRowWarps* kWarp)
    ResidualForwardKernel(Matrix<T> raw, Parameter bias, Matrix<T> extra, float scale,
                          Matrix<T> residual, DeviceDropout dropout, int64_t rows, int columns,
                          Matrix<T> y) {
  const int64_t row = WarpRow();
  if (row >= rows) return;
  const uint32_t seed = dropout.RowSeed(row);
  for (int c = threadIdx.x % kWarp * kPack; c < columns; c += kWarp * kPack) {
    float value[kPack], shift[kPack], more[kPack] = {}, sum[kPack];
    Load(raw.row(row) + c, value);
    Load(residual.row(row) + c, sum);
    bias.Get(c, shift);
    if (extra.data != nullptr) Load(extra.row(row) + c, more);
#pragma unroll
    for (int i = 0; i < kPack; ++i) {
      sum[i] += dropout.Factor(seed, c + i) * scale * (value[i] + shift[i] + more[i]);
    }
    Store(sum, y.row(row) + c);
  }
}

// partial [slabs, 1, columns], null: no sums wanted.
template <typename T, int kPack>
__global__ void __launch_bounds__(kSlabWarps* kWarp)
    ResidualBackwardKernel(Matrix<T> d_y, float scale, DeviceDropout dropout, Slabs slabs,
                           Matrix<T> d_raw, bool stores, float* partial) {
  const int column = static_cast<int>((blockIdx.x * kWarp + threadIdx.x % kWarp) * kPack);
  const int64_t begin = blockIdx.y * slabs.slab_rows;
  const int64_t end = min(begin + slabs.slab_rows, slabs.rows);
  float sums[1][kPack] = {};
  if (column < slabs.columns) {
    for (int64_t row = begin + threadIdx.x / kWarp; row < end; row += kSlabWarps) {
      const uint32_t seed = dropout.RowSeed(row);
      float gradient[kPack];
      Load(d_y.row(row) + column, gradient);
#pragma unroll
      for (int i = 0; i < kPack; ++i) {
        gradient[i] *= scale * dropout.Factor(seed, column + i);
        sums[0][i] += gradient[i];
      }
      if (stores) Store(gradient, d_raw.row(row) + column);
    }
  }
  if (partial != nullptr) StorePartialSums(sums, slabs.columns, partial);
}

// One block for 32 columns of one sum; its eight warps take turns at the slabs.
__global__ void __launch_bounds__(kSlabWarps* kWarp)
    AddPartialSumsKernel(const float* partial, int64_t slabs, int64_t columns, SumTargets targets) {
  __shared__ float shared[kSlabWarps][kWarp];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kWarp + lane;
  float total = 0.0f;
  if (column < columns) {
    for (int64_t slab = warp; slab < slabs; slab += kSlabWarps) {
      total += partial[(slab * gridDim.y + blockIdx.y) * columns + column];
    }
  }
  shared[warp][lane] = total;
  __syncthreads();
  if (warp != 0 || column >= columns) return;
  for (int w = 1; w < kSlabWarps; ++w) total += shared[w][lane];
  const SumTarget target = targets.of[blockIdx.y];
  if (target.plus != nullptr) target.plus[column] += total;
  if (target.minus != nullptr) target.minus[column] -= total;
}

// Sweeps the row three times: after the first it is in the cache.
template <typename T, int kPack>
__global__ void __launch_bounds__(kRowWarps* kWarp)
    LayerNormForwardKernel(Matrix<T> x, Parameter weight, Parameter bias, int64_t rows, int columns,
                           Matrix<T> y, float* means, float* rstds) {
  const int64_t row = WarpRow();
  if (row >= rows) return;
  const int first = threadIdx.x % kWarp * kPack;
  float value[kPack], gain[kPack], shift[kPack];
  float sum = 0.0f, squares = 0.0f;
  for (int c = first; c < columns; c += kWarp * kPack) {
    Load(x.row(row) + c, value);
#pragma unroll
    for (int i = 0; i < kPack; ++i) sum += value[i];
  }
  const float mean = WarpSum(sum) / columns;
  for (int c = first; c < columns; c += kWarp * kPack) {
    Load(x.row(row) + c, value);
#pragma unroll
    for (int i = 0; i < kPack; ++i) squares += (value[i] - mean) * (value[i] - mean);
  }
  const float rstd = 1.0f / sqrtf(WarpSum(squares) / columns + kEpsilon);
  for (int c = first; c < columns; c += kWarp * kPack) {
    Load(x.row(row) + c, value);
    weight.Get(c, gain);
    bias.Get(c, shift);
#pragma unroll
    for (int i = 0; i < kPack; ++i) value[i] = (value[i] - mean) * rstd * gain[i] + shift[i];
    Store(value, y.row(row) + c);
  }
  if (first == 0) {
    means[row] = mean;
    rstds[row] = rstd;
  }
}

// d_x += rstd * (g - mean(g) - x_hat * mean(g x_hat)) with g = d_y * weight.
template <typename T, int kPack>
__global__ void __launch_bounds__(kRowWarps* kWarp)
    LayerNormBackwardKernel(Matrix<T> d_y, Matrix<T> x, Parameter weight, const float* means,
                            const float* rstds, int64_t rows, int columns, Matrix<T> d_x) {
  const int64_t row = WarpRow();
  if (row >= rows) return;
  const int first = threadIdx.x % kWarp * kPack;
  const float mean = means[row], rstd = rstds[row];
  float gradient[kPack], value[kPack], gain[kPack], sum[kPack];
  float total = 0.0f, projection = 0.0f;
  for (int c = first; c < columns; c += kWarp * kPack) {
    Load(d_y.row(row) + c, gradient);
    Load(x.row(row) + c, value);
    weight.Get(c, gain);
#pragma unroll
    for (int i = 0; i < kPack; ++i) {
      total += gradient[i] * gain[i];
      projection += gradient[i] * gain[i] * (value[i] - mean) * rstd;
    }
  }
  total = WarpSum(total) / columns;
  projection = WarpSum(projection) / columns;
  for (int c = first; c < columns; c += kWarp * kPack) {
    Load(d_y.row(row) + c, gradient);
    Load(x.row(row) + c, value);
    Load(d_x.row(row) + c, sum);
    weight.Get(c, gain);
#pragma unroll
    for (int i = 0; i < kPack; ++i) {
      sum[i] += rstd * (gradient[i] * gain[i] - total - (value[i] - mean) * rstd * projection);
    }
    Store(sum, d_x.row(row) + c);
  }
}

template <typename T, int kPack>
void LaunchResidualForward(const Branch& branch, const at::Tensor& residual, const Dropout& dropout,
                           const at::Tensor& y) {
  ResidualForwardKernel<T, kPack>
      <<<RowBlocks(y.size(0)), kRowWarps * kWarp, 0, c10::cuda::getCurrentCUDAStream()>>>(
          MatrixOf<T>(branch.raw), ParameterOf(branch.bias), MatrixOf<T>(branch.extra),
          static_cast<float>(branch.scale), MatrixOf<T>(residual), DropoutOf(dropout), y.size(0),
          static_cast<int>(y.size(1)), MatrixOf<T>(y));
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

// Whether d_raw is d_y and stays so.
bool IsIdentity(double scale, const Dropout& dropout, const at::Tensor& d_y,
                const at::Tensor& d_raw) {
  return scale == 1.0 && dropout.probability <= 0.0 && d_raw.is_same(d_y);
}

template <typename T, int kPack>
void LaunchResidualBackward(const at::Tensor& d_y, double scale, const Dropout& dropout,
                            const Slabs& slabs, const at::Tensor& d_raw,
                            const at::Tensor& partial) {
  ResidualBackwardKernel<T, kPack>
      <<<slabs.grid(kPack), kSlabWarps * kWarp, 0, c10::cuda::getCurrentCUDAStream()>>>(
          MatrixOf<T>(d_y), static_cast<float>(scale), DropoutOf(dropout), slabs,
          MatrixOf<T>(d_raw), !IsIdentity(scale, dropout, d_y, d_raw),
          partial.defined() ? Data<float>(partial) : nullptr);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename T, int kPack>
void LaunchLayerNormForward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            const at::Tensor& y, const at::Tensor& mean, const at::Tensor& rstd) {
  LayerNormForwardKernel<T, kPack>
      <<<RowBlocks(x.size(0)), kRowWarps * kWarp, 0, c10::cuda::getCurrentCUDAStream()>>>(
          MatrixOf<T>(x), ParameterOf(weight), ParameterOf(bias), x.size(0),
          static_cast<int>(x.size(1)), MatrixOf<T>(y), Data<float>(mean), Data<float>(rstd));
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename T, int kPack>
void LaunchLayerNormBackward(const at::Tensor& d_y, const at::Tensor& x, const at::Tensor& weight,
                             const at::Tensor& mean, const at::Tensor& rstd,
                             const at::Tensor& d_x) {
  LayerNormBackwardKernel<T, kPack>
      <<<RowBlocks(x.size(0)), kRowWarps * kWarp, 0, c10::cuda::getCurrentCUDAStream()>>>(
          MatrixOf<T>(d_y), MatrixOf<T>(x), ParameterOf(weight), Data<float>(mean),
          Data<float>(rstd), x.size(0), static_cast<int>(x.size(1)), MatrixOf<T>(d_x));
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace

void AddPartialSums(const at::Tensor& partial, const SumTargets& targets) {
  const int64_t columns = partial.size(2);
  const dim3 grid(static_cast<unsigned>(CeilDivide(columns, kWarp)),
                  static_cast<unsigned>(partial.size(1)));
  AddPartialSumsKernel<<<grid, kSlabWarps * kWarp, 0, c10::cuda::getCurrentCUDAStream()>>>(
      Data<float>(partial), partial.size(0), columns, targets);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

void ResidualForward(const Branch& branch, const at::Tensor& residual, const Dropout& dropout,
                     at::Tensor y, const FollowingNorm& norm) {
  if (y.numel() == 0) return;
  const c10::cuda::CUDAGuard guard(y.device());
  if (CanHold(y.size(1), branch.raw, branch.bias, branch.extra, residual, y, norm.weight, norm.bias,
              norm.y)) {
    return HeldResidualForward(branch, residual, dropout, y, norm);
  }
  const bool packs = AllowPacks(y.size(1), branch.raw, branch.bias, branch.extra, residual, y);
  WithElement(y, [&](auto element) {
    using T = decltype(element);
    (packs ? LaunchResidualForward<T, 8> : LaunchResidualForward<T, 1>)(branch, residual, dropout,
                                                                        y);
  });
  if (norm.weight.defined()) {
    LayerNormForward(y, norm.weight, norm.bias, norm.y, norm.mean, norm.rstd);
  }
}

void ResidualBackward(const at::Tensor& d_y, double scale, const Dropout& dropout, at::Tensor d_raw,
                      at::Tensor d_bias) {
  if (d_y.numel() == 0) return;
  if (!d_bias.defined() && IsIdentity(scale, dropout, d_y, d_raw)) return;
  const c10::cuda::CUDAGuard guard(d_y.device());
  const Slabs slabs = SlabsOf(d_y.size(0), d_y.size(1));
  at::Tensor partial;
  if (d_bias.defined()) {
    partial = at::empty({slabs.slabs, 1, slabs.columns}, d_bias.options());
  }
  WithElement(d_y, [&](auto element) {
    using T = decltype(element);
    (AllowPacks(slabs.columns, d_y, d_raw)
         ? LaunchResidualBackward<T, 8>
         : LaunchResidualBackward<T, 1>)(d_y, scale, dropout, slabs, d_raw, partial);
  });
  if (d_bias.defined()) {
    CHECK(d_bias.is_contiguous());
    SumTargets targets;
    targets.of[0].plus = Data<float>(d_bias);
    AddPartialSums(partial, targets);
  }
}

void LayerNormForward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                      at::Tensor y, at::Tensor mean, at::Tensor rstd) {
  if (x.numel() == 0) return;
  CHECK(mean.is_contiguous() && rstd.is_contiguous());
  const c10::cuda::CUDAGuard guard(x.device());
  if (CanHold(x.size(1), x, weight, bias, y)) {
    return HeldLayerNormForward(x, weight, bias, y, mean, rstd);
  }
  const bool packs = AllowPacks(x.size(1), x, weight, bias, y);
  WithElement(x, [&](auto element) {
    using T = decltype(element);
    (packs ? LaunchLayerNormForward<T, 8> : LaunchLayerNormForward<T, 1>)(x, weight, bias, y, mean,
                                                                          rstd);
  });
}

void LayerNormBackward(const at::Tensor& d_y, const at::Tensor& x, const at::Tensor& weight,
                       const at::Tensor& mean, const at::Tensor& rstd, at::Tensor d_x) {
  if (x.numel() == 0) return;
  CHECK(mean.is_contiguous() && rstd.is_contiguous());
  const c10::cuda::CUDAGuard guard(x.device());
  if (CanHold(x.size(1), d_y, x, weight, d_x)) {
    return HeldLayerNormBackward(d_y, x, weight, mean, rstd, d_x);
  }
  const bool packs = AllowPacks(x.size(1), d_y, x, weight, d_x);
  WithElement(x, [&](auto element) {
    using T = decltype(element);
    (packs ? LaunchLayerNormBackward<T, 8> : LaunchLayerNormBackward<T, 1>)(d_y, x, weight, mean,
                                                                            rstd, d_x);
  });
}

}  // namespace mixrec::model::cuda
