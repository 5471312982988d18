// Forward attention on the GPU: a warp takes one query of one head and walks over the keys it sees,
// 32 at a time, with a running maximum.
#include "model/kernels_cuda_attention.cuh"
#include "model/kernels_cuda_tiles.cuh"

namespace mixrec::model::cuda {
namespace {

template <typename Shape, typename T>
__global__ void __launch_bounds__(kAttentionWarps* kWarp)
    AttentionForwardKernel(AttentionArguments<T> a, KindRows<T> out, KindRows<float> log_sum_exp) {
  __shared__ __align__(16) float staged[kAttentionWarps][Shape::kRoom];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int query = blockIdx.x * kAttentionWarps + warp;
  const int head = blockIdx.y, kind = blockIdx.z;
  if (query >= a.queries) return;
  const int offset = head * a.width;
  StageRow<Shape>(a.q.row(query) + offset, a.scale, a.width, lane, staged[warp]);
  __syncwarp();

  const SeenKeys keys = KeysOf(a, kind, query);
  float largest = -INFINITY, sum = 0.0f;
  float mean[Shape::kShare] = {};
  for (int base = 0; base < keys.count; base += kWarp) {
    const int key = base + lane;
    float score = -INFINITY;
    if (key < keys.count) {
      score = Dot<Shape>(staged[warp], keys.row(key, a.k, a.column_k) + offset, a.width);
    }
    const float previous = largest;
    largest = fmaxf(largest, WarpMax(score));
    const float weight = expf(score - largest);
    const float correction = expf(previous - largest);
    sum = sum * correction + WarpSum(weight);
#pragma unroll
    for (int i = 0; i < Shape::kShare; ++i) mean[i] *= correction;
    const int count = min(kWarp, keys.count - base);
#pragma unroll 4
    for (int j = 0; j < count; ++j) {
      AddRow<Shape>(__shfl_sync(kAllLanes, weight, j), keys.row(base + j, a.v, a.column_v) + offset,
                    a.width, lane, mean);
    }
  }
  StoreRow<Shape>(mean, 1.0f / sum, a.width, lane, out.row(kind, query) + offset);
  if (lane == 0) log_sum_exp.row(kind, query)[head] = largest + logf(sum);
}

// Segment of every key row, from the segments' key ranges: one warp a segment.
__global__ void __launch_bounds__(kAttentionWarps* kWarp)
    KeySegmentKernel(const int32_t* segments, int count, int fields, int32_t* key_segment) {
  const int segment = blockIdx.x * kAttentionWarps + threadIdx.x / kWarp;
  if (segment >= count) return;
  const int32_t* row = segments + static_cast<int64_t>(fields) * segment;
  for (int key = row[2] + threadIdx.x % kWarp; key < row[3]; key += kWarp) {
    key_segment[key] = segment;
  }
}

}  // namespace

at::Tensor KeySegments(const at::Tensor& segments, int64_t rows) {
  at::Tensor key_segment = at::full({rows}, -1, segments.options());
  const int count = static_cast<int>(segments.size(0));
  if (count == 0 || rows == 0) return key_segment;
  KeySegmentKernel<<<static_cast<unsigned>(CeilDivide(count, kAttentionWarps)),
                     kAttentionWarps * kWarp, 0, c10::cuda::getCurrentCUDAStream()>>>(
      Indices(segments), count, static_cast<int>(segments.size(1)),
      key_segment.data_ptr<int32_t>());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return key_segment;
}

void AttentionForward(const AttentionInputs& inputs, const AttentionLayout& layout, at::Tensor out,
                      at::Tensor log_sum_exp) {
  if (out.numel() == 0) return;
  const c10::cuda::CUDAGuard guard(out.device());
  if (TilesApply(inputs, layout, out)) {
    return TileAttentionForward(inputs, layout, out, log_sum_exp);
  }
  WithAttentionShape(inputs, [&](auto element, auto shape) {
    using T = decltype(element);
    using Shape = decltype(shape);
    const dim3 grid(static_cast<unsigned>(CeilDivide(inputs.q.size(0), kAttentionWarps)),
                    static_cast<unsigned>(inputs.heads), inputs.context ? 2 : 1);
    AttentionForwardKernel<Shape, T>
        <<<grid, kAttentionWarps * kWarp, 0, c10::cuda::getCurrentCUDAStream()>>>(
            ArgumentsOf<T>(inputs, layout), KindRowsOf<T>(out), KindRowsOf<float>(log_sum_exp));
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  });
}

}  // namespace mixrec::model::cuda
