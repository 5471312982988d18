// Residual sums and layer norms of rows held in registers.
#include "model/kernels_cuda_held.cuh"

namespace mixrec::model::cuda {
namespace {

constexpr int kRowWarps = 4;

template <typename T, int kPacks>
__global__ void __launch_bounds__(kRowWarps* kWarp)
    NormForwardKernel(Matrix<T> x, NormArguments<T> norm, int64_t rows, int columns) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / kWarp;
  if (row >= rows) return;
  HeldRow<kPacks> value;
  value.Load(x.row(row), columns);
  NormaliseHeld(norm, row, columns, &value);
}

template <typename T, int kPacks>
__global__ void __launch_bounds__(kRowWarps* kWarp)
    ResidualForwardKernel(Matrix<T> raw, Parameter bias, Matrix<T> extra, float scale,
                          Matrix<T> residual, DeviceDropout dropout, int64_t rows, int columns,
                          Matrix<T> y, NormArguments<T> norm) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / kWarp;
  if (row >= rows) return;
  HeldRow<kPacks> value, more, sum;
  value.Load(raw.row(row), columns);
  sum.Load(residual.row(row), columns);
  more.Load(bias, columns);
  ForHeld<kPacks>(columns, [&](int p, int i, int) { value.at[p][i] += more.at[p][i]; });
  if (extra.data != nullptr) {
    more.Load(extra.row(row), columns);
    ForHeld<kPacks>(columns, [&](int p, int i, int) { value.at[p][i] += more.at[p][i]; });
  }
  const uint32_t seed = dropout.RowSeed(row);
  ForHeld<kPacks>(columns, [&](int p, int i, int c) {
    sum.at[p][i] += dropout.Factor(seed, c) * scale * value.at[p][i];
  });
  StoreSum(y, norm, row, columns, &sum);
}

// d_x += rstd * (g - mean(g) - x_hat * mean(g x_hat)) with g = d_y * weight.
template <typename T, int kPacks>
__global__ void __launch_bounds__(kRowWarps* kWarp)
    NormBackwardKernel(Matrix<T> d_y, Matrix<T> x, Parameter weight, const float* means,
                       const float* rstds, int64_t rows, int columns, Matrix<T> d_x) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / kWarp;
  if (row >= rows) return;
  const float mean = means[row], rstd = rstds[row];
  HeldRow<kPacks> gradient, normal, sum, gain;
  gradient.Load(d_y.row(row), columns);
  normal.Load(x.row(row), columns);
  sum.Load(d_x.row(row), columns);
  gain.Load(weight, columns);
  float total = 0.0f, projection = 0.0f;
  ForHeld<kPacks>(columns, [&](int p, int i, int) {
    gradient.at[p][i] *= gain.at[p][i];
    normal.at[p][i] = (normal.at[p][i] - mean) * rstd;
    total += gradient.at[p][i];
    projection += gradient.at[p][i] * normal.at[p][i];
  });
  total = WarpSum(total) / columns;
  projection = WarpSum(projection) / columns;
  ForHeld<kPacks>(columns, [&](int p, int i, int) {
    sum.at[p][i] += rstd * (gradient.at[p][i] - total - normal.at[p][i] * projection);
  });
  sum.Store(d_x.row(row), columns);
}

unsigned Blocks(int64_t rows) { return static_cast<unsigned>(CeilDivide(rows, kRowWarps)); }

}  // namespace

void HeldLayerNormForward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                          const at::Tensor& y, const at::Tensor& mean, const at::Tensor& rstd) {
  WithElement(x, [&](auto element) {
    using T = decltype(element);
    WithHeldPacks(x.size(1), [&](auto packs) {
      NormForwardKernel<T, decltype(packs)::value>
          <<<Blocks(x.size(0)), kRowWarps * kWarp, 0, c10::cuda::getCurrentCUDAStream()>>>(
              MatrixOf<T>(x), NormOf<T>({weight, bias, y, mean, rstd}), x.size(0),
              static_cast<int>(x.size(1)));
    });
  });
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

void HeldResidualForward(const Branch& branch, const at::Tensor& residual, const Dropout& dropout,
                         const at::Tensor& y, const FollowingNorm& norm) {
  WithElement(y, [&](auto element) {
    using T = decltype(element);
    WithHeldPacks(y.size(1), [&](auto packs) {
      ResidualForwardKernel<T, decltype(packs)::value>
          <<<Blocks(y.size(0)), kRowWarps * kWarp, 0, c10::cuda::getCurrentCUDAStream()>>>(
              MatrixOf<T>(branch.raw), ParameterOf(branch.bias), MatrixOf<T>(branch.extra),
              static_cast<float>(branch.scale), MatrixOf<T>(residual), DropoutOf(dropout),
              y.size(0), static_cast<int>(y.size(1)), MatrixOf<T>(y), NormOf<T>(norm));
    });
  });
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

void HeldLayerNormBackward(const at::Tensor& d_y, const at::Tensor& x, const at::Tensor& weight,
                           const at::Tensor& mean, const at::Tensor& rstd, const at::Tensor& d_x) {
  WithElement(x, [&](auto element) {
    using T = decltype(element);
    WithHeldPacks(x.size(1), [&](auto packs) {
      NormBackwardKernel<T, decltype(packs)::value>
          <<<Blocks(x.size(0)), kRowWarps * kWarp, 0, c10::cuda::getCurrentCUDAStream()>>>(
              MatrixOf<T>(d_y), MatrixOf<T>(x), ParameterOf(weight), Data<float>(mean),
              Data<float>(rstd), x.size(0), static_cast<int>(x.size(1)), MatrixOf<T>(d_x));
    });
  });
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace mixrec::model::cuda
