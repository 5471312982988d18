// Layer norm of rows held in registers: forward two passes over memory, backward four.
#include "model/kernels_cuda_held.cuh"

namespace mixrec::model::cuda {
namespace {

constexpr int kRowWarps = 4;
constexpr float kEpsilon = 1e-5f;

template <typename T, int kPacks>
__global__ void __launch_bounds__(kRowWarps* kWarp)
    NormForwardKernel(Matrix<T> x, Parameter weight, Parameter bias, int64_t rows, int columns,
                      Matrix<T> y, float* means, float* rstds) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / kWarp;
  if (row >= rows) return;
  HeldRow<kPacks> value, gain, shift;
  value.Load(x.row(row), columns);
  gain.Load(weight, columns);
  shift.Load(bias, columns);
  float sum = 0.0f, squares = 0.0f;
  ForHeld<kPacks>(columns, [&](int p, int i, int) { sum += value.at[p][i]; });
  const float mean = WarpSum(sum) / columns;
  ForHeld<kPacks>(columns, [&](int p, int i, int) {
    value.at[p][i] -= mean;
    squares += value.at[p][i] * value.at[p][i];
  });
  const float rstd = 1.0f / sqrtf(WarpSum(squares) / columns + kEpsilon);
  ForHeld<kPacks>(columns, [&](int p, int i, int) {
    value.at[p][i] = value.at[p][i] * rstd * gain.at[p][i] + shift.at[p][i];
  });
  value.Store(y.row(row), columns);
  if (threadIdx.x % kWarp == 0) {
    means[row] = mean;
    rstds[row] = rstd;
  }
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
              MatrixOf<T>(x), ParameterOf(weight), ParameterOf(bias), x.size(0),
              static_cast<int>(x.size(1)), MatrixOf<T>(y), Data<float>(mean), Data<float>(rstd));
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
