#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_bf16.h>

#include "common/log.h"
#include "tensor/device_step.h"

namespace mixrec::tensor::cuda {
namespace {

constexpr int kThreads = 256;

struct Constants {
  float beta1, beta2, epsilon, decay, step_size, inverse_sqrt_correction2;
};

// One element, as AdamWSpan.
__device__ __forceinline__ void Step(const Constants& c, float g, float* value, float* first,
                                     float* second) {
  const float m = *first + (1.0f - c.beta1) * (g - *first);
  const float v = c.beta2 * *second + (1.0f - c.beta2) * g * g;
  *first = m;
  *second = v;
  *value = *value * c.decay - c.step_size * m / (sqrtf(v) * c.inverse_sqrt_correction2 + c.epsilon);
}

__device__ __forceinline__ void Store4(const float4& value, float* to) {
  *reinterpret_cast<float4*>(to) = value;
}
__device__ __forceinline__ void Store4(const float4& value, __nv_bfloat16* to) {
  __nv_bfloat162 pairs[2] = {__floats2bfloat162_rn(value.x, value.y),
                             __floats2bfloat162_rn(value.z, value.w)};
  *reinterpret_cast<uint2*>(to) = *reinterpret_cast<const uint2*>(pairs);
}

// Four elements a thread, at once where all tensors begin at multiples of 16 bytes; `copy` may be
// null.
template <typename Copy>
__global__ void __launch_bounds__(kThreads)
    AdamWKernel(bool aligned, const float* schedule, const float* total, int64_t size,
                float* gradient, float* value, float* first, float* second, Copy* copy) {
  const int64_t at = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * 4;
  if (at >= size) return;
  const bool moves = isfinite(*total);
  const Constants c{schedule[0], schedule[1], schedule[2], schedule[3], schedule[4], schedule[5]};
  if (!aligned || at + 4 > size) {
    for (int64_t i = at; i < min(at + 4, size); ++i) {
      if (moves) Step(c, gradient[i], value + i, first + i, second + i);
      gradient[i] = 0.0f;
      if (copy != nullptr) copy[i] = static_cast<Copy>(value[i]);
    }
    return;
  }
  if (moves) {
    const float4 g = *reinterpret_cast<const float4*>(gradient + at);
    float4 p = *reinterpret_cast<const float4*>(value + at);
    float4 m = *reinterpret_cast<const float4*>(first + at);
    float4 v = *reinterpret_cast<const float4*>(second + at);
    Step(c, g.x, &p.x, &m.x, &v.x);
    Step(c, g.y, &p.y, &m.y, &v.y);
    Step(c, g.z, &p.z, &m.z, &v.z);
    Step(c, g.w, &p.w, &m.w, &v.w);
    Store4(p, value + at);
    Store4(m, first + at);
    Store4(v, second + at);
    if (copy != nullptr) Store4(p, copy + at);
  }
  Store4(make_float4(0.0f, 0.0f, 0.0f, 0.0f), gradient + at);
}

// One block a row named.
__global__ void RowAdamWKernel(double beta1, double beta2, float decay_rate, const float* schedule,
                               const float* total, const int64_t* ids, const float* gradient,
                               int64_t width, float* rows, int32_t* counts) {
  __shared__ Constants shared;
  const int64_t id = ids[blockIdx.x];
  if (id < 0 || !isfinite(*total)) return;
  if (threadIdx.x == 0) {
    const double count = static_cast<double>(++counts[id]);
    const float rate = schedule[6];
    shared = {schedule[0],
              schedule[1],
              schedule[2],
              1.0f - rate * decay_rate,
              static_cast<float>(rate / (1.0 - pow(beta1, count))),
              static_cast<float>(1.0 / sqrt(1.0 - pow(beta2, count)))};
  }
  __syncthreads();
  const Constants c = shared;
  float* row = rows + id * 3 * width;
  for (int64_t i = threadIdx.x; i < width; i += blockDim.x) {
    Step(c, gradient[blockIdx.x * width + i], row + i, row + width + i, row + 2 * width + i);
  }
}

}  // namespace

void AdamWStep(const at::Tensor& schedule, const at::Tensor& total, at::Tensor gradient,
               at::Tensor value, at::Tensor first_moment, at::Tensor second_moment,
               at::Tensor copy) {
  const int64_t size = value.numel();
  if (size == 0) return;
  const c10::cuda::CUDAGuard guard(value.device());
  const auto blocks = static_cast<unsigned>((size + 4 * kThreads - 1) / (4 * kThreads));
  const auto is_aligned = [](const void* pointer) {
    return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
  };
  const bool aligned = is_aligned(gradient.data_ptr()) && is_aligned(value.data_ptr()) &&
                       is_aligned(first_moment.data_ptr()) &&
                       is_aligned(second_moment.data_ptr()) &&
                       (!copy.defined() || is_aligned(copy.data_ptr()));
  const auto launch = [&](auto* to) {
    AdamWKernel<<<blocks, kThreads, 0, c10::cuda::getCurrentCUDAStream()>>>(
        aligned, schedule.data_ptr<float>(), total.data_ptr<float>(), size,
        gradient.data_ptr<float>(), value.data_ptr<float>(), first_moment.data_ptr<float>(),
        second_moment.data_ptr<float>(), to);
  };
  if (!copy.defined()) {
    launch(static_cast<float*>(nullptr));
  } else if (copy.scalar_type() == at::kFloat) {
    launch(copy.data_ptr<float>());
  } else {
    CHECK(copy.scalar_type() == at::kBFloat16);
    launch(reinterpret_cast<__nv_bfloat16*>(copy.data_ptr()));
  }
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

void RowAdamWStep(const AdamWOptions& options, const at::Tensor& schedule, const at::Tensor& total,
                  const at::Tensor& ids, const at::Tensor& gradient, at::Tensor rows,
                  at::Tensor counts) {
  if (ids.numel() == 0) return;
  const c10::cuda::CUDAGuard guard(rows.device());
  RowAdamWKernel<<<static_cast<unsigned>(ids.numel()), 128, 0, c10::cuda::getCurrentCUDAStream()>>>(
      options.beta1, options.beta2, static_cast<float>(options.weight_decay),
      schedule.data_ptr<float>(), total.data_ptr<float>(), ids.data_ptr<int64_t>(),
      gradient.data_ptr<float>(), gradient.size(1), rows.data_ptr<float>(),
      counts.data_ptr<int32_t>());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace mixrec::tensor::cuda
