// What the CUDA kernels share: element types, vector loads, warp reductions, and how tensors become
// kernel arguments. Private to kernels_cuda_*.cu.
#pragma once

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_bf16.h>

#include "common/log.h"
#include "model/kernels_cuda.h"

namespace mixrec::model::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xFFFFFFFFu;

__device__ __forceinline__ float ToFloat(float value) { return value; }
__device__ __forceinline__ float ToFloat(__nv_bfloat16 value) { return __bfloat162float(value); }
template <typename T>
__device__ __forceinline__ T FromFloat(float value);
template <>
__device__ __forceinline__ float FromFloat<float>(float value) {
  return value;
}
template <>
__device__ __forceinline__ __nv_bfloat16 FromFloat<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}

constexpr size_t PackAlignment(size_t bytes) { return bytes >= 16 ? 16 : bytes; }
// Neighbours read or written together, in accesses of up to 16 bytes.
template <typename T, int kCount>
struct alignas(PackAlignment(sizeof(T) * kCount)) Pack {
  T values[kCount];
};

template <typename T, int kCount>
__device__ __forceinline__ void Load(const T* from, float (&to)[kCount]) {
  const auto pack = *reinterpret_cast<const Pack<T, kCount>*>(from);
#pragma unroll
  for (int i = 0; i < kCount; ++i) to[i] = ToFloat(pack.values[i]);
}

template <typename T, int kCount>
__device__ __forceinline__ void Store(const float (&from)[kCount], T* to) {
  Pack<T, kCount> pack;
#pragma unroll
  for (int i = 0; i < kCount; ++i) pack.values[i] = FromFloat<T>(from[i]);
  *reinterpret_cast<Pack<T, kCount>*>(to) = pack;
}

__device__ __forceinline__ float WarpSum(float value) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, step);
  }
  return value;
}

__device__ __forceinline__ float WarpMax(float value) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) {
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, step));
  }
  return value;
}

// Row-major rows with unit column stride; null: absent.
template <typename T>
struct Matrix {
  T* data = nullptr;
  int64_t stride = 0;
  __device__ __forceinline__ T* row(int64_t index) const { return data + index * stride; }
};

template <typename T>
T* Data(const at::Tensor& tensor) {
  return tensor.data_ptr<T>();
}
template <>
inline __nv_bfloat16* Data<__nv_bfloat16>(const at::Tensor& tensor) {
  return reinterpret_cast<__nv_bfloat16*>(tensor.data_ptr<at::BFloat16>());
}

// An undefined tensor gives an absent matrix.
template <typename T>
Matrix<T> MatrixOf(const at::Tensor& tensor) {
  if (!tensor.defined()) return {};
  return {Data<T>(tensor), tensor.stride(0)};
}

// A vector of parameters in either element type; absent: zeros.
struct Parameter {
  const float* fp32 = nullptr;
  const __nv_bfloat16* bf16 = nullptr;

  template <int kCount>
  __device__ __forceinline__ void Get(int64_t column, float (&to)[kCount]) const {
    if (fp32 != nullptr) {
      Load(fp32 + column, to);
    } else if (bf16 != nullptr) {
      Load(bf16 + column, to);
    } else {
#pragma unroll
      for (int i = 0; i < kCount; ++i) to[i] = 0.0f;
    }
  }
};

inline Parameter ParameterOf(const at::Tensor& tensor) {
  if (!tensor.defined()) return {};
  CHECK(tensor.is_contiguous()) << "parameters of a fused kernel must be contiguous";
  if (tensor.scalar_type() == at::kFloat) return {Data<float>(tensor), nullptr};
  return {nullptr, Data<__nv_bfloat16>(tensor)};
}

struct DeviceDropout {
  const int64_t* row_keys = nullptr;  // null: keep everything
  uint64_t site = 0;
  uint32_t threshold = 0;
  float keep_scale = 1.0f;

  __device__ __forceinline__ uint32_t RowSeed(int64_t row) const {
    return row_keys == nullptr ? 0 : DropoutRowSeed(static_cast<uint64_t>(row_keys[row]), site);
  }
  // What the element's value is multiplied by.
  __device__ __forceinline__ float Factor(uint32_t row_seed, int column) const {
    if (row_keys == nullptr) return 1.0f;
    return DropoutBits(row_seed, static_cast<uint32_t>(column)) >= threshold ? keep_scale : 0.0f;
  }
};

inline DeviceDropout DropoutOf(const Dropout& dropout) {
  if (dropout.probability <= 0.0) return {};
  CHECK(dropout.row_keys.is_contiguous());
  return {dropout.row_keys.data_ptr<int64_t>(), dropout.site, DropoutThreshold(dropout.probability),
          static_cast<float>(1.0 / (1.0 - dropout.probability))};
}

// Whether rows of `tensor`, cut at multiples of eight columns, can be read in 16-byte accesses.
inline bool AllowsPacks(const at::Tensor& tensor) {
  if (!tensor.defined()) return true;
  bool aligned = reinterpret_cast<uintptr_t>(tensor.data_ptr()) % 16 == 0;
  for (int64_t axis = 0; axis + 1 < tensor.dim(); ++axis) {
    aligned = aligned && tensor.stride(axis) * tensor.element_size() % 16 == 0;
  }
  return aligned;
}
template <typename... Tensors>
bool AllowPacks(int64_t columns, const Tensors&... tensors) {
  return columns % 8 == 0 && (AllowsPacks(tensors) && ...);
}

// visit(T{}) with the kernels' type of the tensor's elements.
template <typename Visit>
void WithElement(const at::Tensor& tensor, Visit visit) {
  if (tensor.scalar_type() == at::kFloat) {
    visit(float{});
  } else {
    CHECK(tensor.scalar_type() == at::kBFloat16) << "CUDA kernels take fp32 and bf16";
    visit(__nv_bfloat16{});
  }
}

inline int64_t CeilDivide(int64_t value, int64_t divisor) {
  return (value + divisor - 1) / divisor;
}

}  // namespace mixrec::model::cuda
