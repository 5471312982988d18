// Rows that a warp holds in registers while it computes over them, for matrices of up to
// kMostHeld * 256 columns: one read of every row. Private to kernels_cuda_*.cu.
#pragma once

#include <type_traits>

#include "model/kernels_cuda_device.cuh"

namespace mixrec::model::cuda {

constexpr int kHeldPack = 8;  // neighbouring columns of a lane
constexpr int kMostHeld = 4;  // packs of a lane

template <int kPacks>
struct HeldRow {
  float at[kPacks][kHeldPack];

  static __device__ __forceinline__ int Column(int pack) {
    return (pack * kWarp + static_cast<int>(threadIdx.x) % kWarp) * kHeldPack;
  }
  // Columns past the end are zeros.
  template <typename T>
  __device__ __forceinline__ void Load(const T* row, int columns) {
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      if (Column(p) < columns) {
        cuda::Load(row + Column(p), at[p]);
      } else {
#pragma unroll
        for (int i = 0; i < kHeldPack; ++i) at[p][i] = 0.0f;
      }
    }
  }
  __device__ __forceinline__ void Load(const Parameter& vector, int columns) {
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      if (Column(p) < columns) {
        vector.Get(Column(p), at[p]);
      } else {
#pragma unroll
        for (int i = 0; i < kHeldPack; ++i) at[p][i] = 0.0f;
      }
    }
  }
  template <typename T>
  __device__ __forceinline__ void Store(T* row, int columns) const {
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      if (Column(p) < columns) cuda::Store(at[p], row + Column(p));
    }
  }
};

// visit(pack, element, column) for all of a lane's columns.
template <int kPacks, typename Visit>
__device__ __forceinline__ void ForHeld(int columns, Visit visit) {
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const int first = HeldRow<kPacks>::Column(p);
    if (first >= columns) continue;
#pragma unroll
    for (int i = 0; i < kHeldPack; ++i) visit(p, i, first + i);
  }
}

// Whether rows can be held: read in packs, and not too wide.
template <typename... Tensors>
bool CanHold(int64_t columns, const Tensors&... tensors) {
  return columns <= kMostHeld * kWarp * kHeldPack && AllowPacks(columns, tensors...);
}

// visit(std::integral_constant<int, packs>).
template <typename Visit>
void WithHeldPacks(int64_t columns, Visit visit) {
  switch (CeilDivide(columns, kWarp * kHeldPack)) {
    case 1:
      return visit(std::integral_constant<int, 1>());
    case 2:
      return visit(std::integral_constant<int, 2>());
    case 3:
      return visit(std::integral_constant<int, 3>());
    default:
      return visit(std::integral_constant<int, 4>());
  }
}

// A layer norm that follows a sum; null weights: none.
template <typename T>
struct NormArguments {
  Parameter weight, bias;
  Matrix<T> y;
  float *mean = nullptr, *rstd = nullptr;
  __device__ __forceinline__ bool wanted() const { return mean != nullptr; }
};

template <typename T>
NormArguments<T> NormOf(const FollowingNorm& norm) {
  if (!norm.weight.defined()) return {};
  CHECK(norm.mean.is_contiguous() && norm.rstd.is_contiguous());
  return {ParameterOf(norm.weight), ParameterOf(norm.bias), MatrixOf<T>(norm.y),
          Data<float>(norm.mean), Data<float>(norm.rstd)};
}

constexpr float kNormEpsilon = 1e-5f;

// The warp's row `value`, of values as stored, becomes its layer norm, which is stored.
template <typename T, int kPacks>
__device__ __forceinline__ void NormaliseHeld(const NormArguments<T>& norm, int64_t row,
                                              int columns, HeldRow<kPacks>* value) {
  float sum = 0.0f, squares = 0.0f;
  ForHeld<kPacks>(columns, [&](int p, int i, int) { sum += value->at[p][i]; });
  const float mean = WarpSum(sum) / columns;
  ForHeld<kPacks>(columns, [&](int p, int i, int) {
    value->at[p][i] -= mean;
    squares += value->at[p][i] * value->at[p][i];
  });
  const float rstd = 1.0f / sqrtf(WarpSum(squares) / columns + kNormEpsilon);
  HeldRow<kPacks> gain, shift;
  gain.Load(norm.weight, columns);
  shift.Load(norm.bias, columns);
  ForHeld<kPacks>(columns, [&](int p, int i, int) {
    value->at[p][i] = value->at[p][i] * rstd * gain.at[p][i] + shift.at[p][i];
  });
  value->Store(norm.y.row(row), columns);
  if (threadIdx.x % kWarp == 0) {
    norm.mean[row] = mean;
    norm.rstd[row] = rstd;
  }
}

// Stores the warp's row `value` of a sum, and its layer norm if one is wanted.
template <typename T, int kPacks>
__device__ __forceinline__ void StoreSum(const Matrix<T>& y, const NormArguments<T>& norm,
                                         int64_t row, int columns, HeldRow<kPacks>* value) {
  value->Store(y.row(row), columns);
  if (!norm.wanted()) return;
  ForHeld<kPacks>(columns, [&](int p, int i, int) {
    value->at[p][i] = ToFloat(FromFloat<T>(value->at[p][i]));
  });
  NormaliseHeld(norm, row, columns, value);
}

// As the functions of kernels.h, where CanHold. kernels_cuda_held_*.cu.
void HeldResidualForward(const Branch& branch, const at::Tensor& residual, const Dropout& dropout,
                         const at::Tensor& y, const FollowingNorm& norm);
void HeldLayerNormForward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                          const at::Tensor& y, const at::Tensor& mean, const at::Tensor& rstd);
void HeldLayerNormBackward(const at::Tensor& d_y, const at::Tensor& x, const at::Tensor& weight,
                           const at::Tensor& mean, const at::Tensor& rstd, const at::Tensor& d_x);
void HeldGateForward(const Branch& causal, const Branch& context, const at::Tensor& gate_weight,
                     const at::Tensor& gate_bias, const at::Tensor& residual,
                     const Dropout& dropout, const at::Tensor& y, const at::Tensor& beta,
                     const FollowingNorm& norm);
void HeldGateBackward(const at::Tensor& d_y, const Branch& causal, const Branch& context,
                      const at::Tensor& gate_weight, const at::Tensor& beta, const Dropout& dropout,
                      const GateGradients& gradients);

}  // namespace mixrec::model::cuda
