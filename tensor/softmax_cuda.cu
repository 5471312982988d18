#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_bf16.h>

#include "common/log.h"
#include "tensor/softmax_cuda.h"

namespace mixrec::tensor::cuda {
namespace {

constexpr int kThreads = 256, kWarp = 32;

// Maximum and sum of exponentials below it, of a part of a row.
struct Part {
  float largest = -1e30f, sum = 0.0f;
  __device__ __forceinline__ void Add(const Part& other) {
    const float next = fmaxf(largest, other.largest);
    sum = sum * __expf(largest - next) + other.sum * __expf(other.largest - next);
    largest = next;
  }
};

// Of the whole block's row, for every thread.
__device__ Part BlockTotal(Part part) {
  __shared__ Part parts[kThreads / kWarp];
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) {
    part.Add({__shfl_xor_sync(0xFFFFFFFFu, part.largest, step),
              __shfl_xor_sync(0xFFFFFFFFu, part.sum, step)});
  }
  if (threadIdx.x % kWarp == 0) parts[threadIdx.x / kWarp] = part;
  __syncthreads();
  Part total = parts[0];
  for (int i = 1; i < kThreads / kWarp; ++i) total.Add(parts[i]);
  return total;
}

template <typename Gradient>
__global__ void __launch_bounds__(kThreads)
    SoftmaxGradientKernel(const float* logits, const float* bias, const int64_t* labels,
                          const float* weights, int64_t items, float* losses, Gradient* d_logits) {
  const int64_t row = blockIdx.x;
  const float* z = logits + row * items;
  Part part;
  for (int64_t i = threadIdx.x; i < items; i += kThreads) {
    const float value = z[i] + bias[i];
    const float next = fmaxf(part.largest, value);
    part.sum = part.sum * __expf(part.largest - next) + __expf(value - next);
    part.largest = next;
  }
  const Part total = BlockTotal(part);
  const int64_t label = labels[row];
  const float weight = weights[row], log_sum_exp = total.largest + logf(total.sum);
  if (threadIdx.x == 0) losses[row] = log_sum_exp - (z[label] + bias[label]);
  __syncthreads();  // the label's logit has been read, should the gradient overwrite it
  for (int64_t i = threadIdx.x; i < items; i += kThreads) {
    const float probability = __expf(z[i] + bias[i] - log_sum_exp);
    d_logits[row * items + i] =
        static_cast<Gradient>(weight * (probability - (i == label ? 1.0f : 0.0f)));
  }
}

}  // namespace

void SoftmaxGradientRows(const at::Tensor& logits, const at::Tensor& bias, const at::Tensor& labels,
                         const at::Tensor& weights, at::Tensor losses, at::Tensor d_logits) {
  CHECK(logits.is_contiguous() && d_logits.is_contiguous() && bias.is_contiguous());
  if (logits.numel() == 0) return;
  const c10::cuda::CUDAGuard guard(logits.device());
  const auto launch = [&](auto* to) {
    SoftmaxGradientKernel<<<static_cast<unsigned>(logits.size(0)), kThreads, 0,
                            c10::cuda::getCurrentCUDAStream()>>>(
        logits.data_ptr<float>(), bias.data_ptr<float>(), labels.data_ptr<int64_t>(),
        weights.data_ptr<float>(), logits.size(1), losses.data_ptr<float>(), to);
  };
  if (d_logits.scalar_type() == at::kFloat) {
    launch(d_logits.data_ptr<float>());
  } else {
    CHECK(d_logits.scalar_type() == at::kBFloat16);
    launch(reinterpret_cast<__nv_bfloat16*>(d_logits.data_ptr()));
  }
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace mixrec::tensor::cuda
