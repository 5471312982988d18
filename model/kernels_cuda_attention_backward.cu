// Backward attention on the GPU. Weights are made again from log_sum_exp. Nobody adds to a row of
// another warp: queries gather over their keys; keys, prompt rows and columns gather over the
// queries that see them.
#include <algorithm>

#include "model/kernels_cuda_attention.cuh"
#include "model/kernels_cuda_tiles.cuh"

namespace mixrec::model::cuda {
namespace {

template <typename T>
struct BackwardArguments {
  KindRows<T> out, d_out;
  KindRows<float> log_sum_exp, delta;  // delta [kinds, R, H]: row sums of d_out * out
  int kinds;
  Matrix<T> d_q, d_k, d_v, d_column_k, d_column_v;
  const int32_t *key_document, *key_group;  // [T] segment of every key, -1: none
  // [chunks, prompt rows, 2, D]: gradients of the prompt's keys and values by chunks of queries.
  float* prompt_partial;
  int chunks, chunk_queries;
};

template <typename Shape, typename T>
__global__ void __launch_bounds__(kAttentionWarps* kWarp)
    QueryGradientKernel(AttentionArguments<T> a, BackwardArguments<T> b) {
  __shared__ __align__(16) float staged_q[kAttentionWarps][Shape::kRoom];
  __shared__ __align__(16) float staged_d_out[kAttentionWarps][Shape::kRoom];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int query = blockIdx.x * kAttentionWarps + warp;
  const int head = blockIdx.y;
  if (query >= a.queries) return;
  const int offset = head * a.width;
  StageRow<Shape>(a.q.row(query) + offset, a.scale, a.width, lane, staged_q[warp]);

  float d_q[Shape::kShare] = {};
  for (int kind = 0; kind < b.kinds; ++kind) {
    const T* d_out = b.d_out.row(kind, query) + offset;
    const T* out = b.out.row(kind, query) + offset;
    float delta = 0.0f;
    for (int c = lane; c < a.width; c += kWarp) delta += ToFloat(d_out[c]) * ToFloat(out[c]);
    delta = WarpSum(delta);
    if (lane == 0) b.delta.row(kind, query)[head] = delta;
    const float log_sum_exp = b.log_sum_exp.row(kind, query)[head];
    __syncwarp();
    StageRow<Shape>(d_out, 1.0f, a.width, lane, staged_d_out[warp]);
    __syncwarp();

    const SeenKeys keys = KeysOf(a, kind, query);
    for (int base = 0; base < keys.count; base += kWarp) {
      const int key = base + lane;
      float d_score = 0.0f;
      if (key < keys.count) {
        const float score =
            Dot<Shape>(staged_q[warp], keys.row(key, a.k, a.column_k) + offset, a.width);
        const float d_weight =
            Dot<Shape>(staged_d_out[warp], keys.row(key, a.v, a.column_v) + offset, a.width);
        d_score = expf(score - log_sum_exp) * (d_weight - delta);
      }
      const int count = min(kWarp, keys.count - base);
#pragma unroll 4
      for (int j = 0; j < count; ++j) {
        AddRow<Shape>(__shfl_sync(kAllLanes, d_score, j),
                      keys.row(base + j, a.k, a.column_k) + offset, a.width, lane, d_q);
      }
    }
  }
  StoreRow<Shape>(d_q, a.scale, a.width, lane, b.d_q.row(query) + offset);
}

// A key of one head, as the warp that owns it gathers its gradients.
template <typename Shape, typename T>
struct KeyGradient {
  const float *k, *v;  // staged; k times the scale
  int head, offset, lane;
  float d_k[Shape::kShare] = {};
  float d_v[Shape::kShare] = {};

  // Adds queries [base, base + count), count <= 32; a lane whose query does not see the key says
  // so.
  __device__ __forceinline__ void Add(const AttentionArguments<T>& a, const BackwardArguments<T>& b,
                                      int kind, int base, int count, bool sees) {
    float weight = 0.0f, d_score = 0.0f;
    if (sees && lane < count) {
      const int query = base + lane;
      const float score = Dot<Shape>(k, a.q.row(query) + offset, a.width);
      const float d_weight = Dot<Shape>(v, b.d_out.row(kind, query) + offset, a.width);
      weight = expf(score - b.log_sum_exp.row(kind, query)[head]);
      d_score = weight * (d_weight - b.delta.row(kind, query)[head]);
    }
#pragma unroll 4
    for (int j = 0; j < count; ++j) {
      AddRow<Shape>(__shfl_sync(kAllLanes, d_score, j), a.q.row(base + j) + offset, a.width, lane,
                    d_k);
      AddRow<Shape>(__shfl_sync(kAllLanes, weight, j), b.d_out.row(kind, base + j) + offset,
                    a.width, lane, d_v);
    }
  }
  __device__ __forceinline__ void AddRange(const AttentionArguments<T>& a,
                                           const BackwardArguments<T>& b, int kind, int begin,
                                           int end) {
    for (int base = begin; base < end; base += kWarp) {
      Add(a, b, kind, base, min(kWarp, end - base), true);
    }
  }
};

// Stages the key and value and starts their gradients at zero.
template <typename Shape, typename T>
__device__ __forceinline__ KeyGradient<Shape, T> StartKey(const AttentionArguments<T>& a,
                                                          const T* k, const T* v, float* staged_k,
                                                          float* staged_v) {
  const int head = blockIdx.y, lane = threadIdx.x % kWarp;
  const int offset = head * a.width;
  StageRow<Shape>(k + offset, a.scale, a.width, lane, staged_k);
  StageRow<Shape>(v + offset, 1.0f, a.width, lane, staged_v);
  __syncwarp();
  return {staged_k, staged_v, head, offset, lane};
}

// First of the queries [begin, end) whose stream row is at least `row`.
__device__ __forceinline__ int FirstQueryFrom(const int32_t* query_rows, int begin, int end,
                                              int row) {
  while (begin < end) {
    const int middle = (begin + end) / 2;
    if (query_rows[middle] < row) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

// Prompt rows are seen by the queries of many documents: a block takes a chunk of the queries.
template <typename Shape, typename T>
__global__ void __launch_bounds__(kAttentionWarps* kWarp)
    PromptGradientKernel(AttentionArguments<T> a, BackwardArguments<T> b) {
  __shared__ __align__(16) float staged_k[kAttentionWarps][Shape::kRoom];
  __shared__ __align__(16) float staged_v[kAttentionWarps][Shape::kRoom];
  const int warp = threadIdx.x / kWarp;
  const int key = blockIdx.z * kAttentionWarps + warp;
  if (key >= a.prompt_rows) return;
  auto gradient = StartKey<Shape>(a, a.k.row(key), a.v.row(key), staged_k[warp], staged_v[warp]);
  const int begin = blockIdx.x * b.chunk_queries;
  const int end = min(begin + b.chunk_queries, a.queries);
  for (int base = begin; base < end; base += kWarp) {
    const int query = base + gradient.lane;
    const bool sees =
        query < end && a.documents[kDocumentFields * a.query_document[query] + 4] != 0;
    if (__any_sync(kAllLanes, sees)) {
      gradient.Add(a, b, kCausal, base, min(kWarp, end - base), sees);
    }
  }
  const int64_t columns = static_cast<int64_t>(a.heads) * a.width;
  float* partial = b.prompt_partial +
                   (static_cast<int64_t>(blockIdx.x) * a.prompt_rows + key) * 2 * columns +
                   gradient.offset;
  StoreRow<Shape>(gradient.d_k, 1.0f, a.width, gradient.lane, partial);
  StoreRow<Shape>(gradient.d_v, 1.0f, a.width, gradient.lane, partial + columns);
}

// Stream rows as keys: queries of the own document from the row on, all queries of the own group,
// and what the prompt's chunks found.
template <typename Shape, typename T>
__global__ void __launch_bounds__(kAttentionWarps* kWarp)
    KeyGradientKernel(AttentionArguments<T> a, BackwardArguments<T> b) {
  __shared__ __align__(16) float staged_k[kAttentionWarps][Shape::kRoom];
  __shared__ __align__(16) float staged_v[kAttentionWarps][Shape::kRoom];
  const int warp = threadIdx.x / kWarp;
  const int key = blockIdx.x * kAttentionWarps + warp;
  if (key >= a.rows) return;
  auto gradient = StartKey<Shape>(a, a.k.row(key), a.v.row(key), staged_k[warp], staged_v[warp]);
  if (b.key_document[key] >= 0) {
    const int32_t* document = a.documents + kDocumentFields * b.key_document[key];
    gradient.AddRange(a, b, kCausal, FirstQueryFrom(a.query_rows, document[0], document[1], key),
                      document[1]);
  }
  if (b.kinds > 1 && b.key_group[key] >= 0) {
    const int32_t* group = a.groups + kGroupFields * b.key_group[key];
    gradient.AddRange(a, b, kContext, group[0], group[1]);
  }
  if (key < a.prompt_rows) {
    const int64_t columns = static_cast<int64_t>(a.heads) * a.width;
    for (int chunk = 0; chunk < b.chunks; ++chunk) {
      const float* partial = b.prompt_partial +
                             (static_cast<int64_t>(chunk) * a.prompt_rows + key) * 2 * columns +
                             gradient.offset;
      AddRow<Shape>(1.0f, partial, a.width, gradient.lane, gradient.d_k);
      AddRow<Shape>(1.0f, partial + columns, a.width, gradient.lane, gradient.d_v);
    }
  }
  StoreRow<Shape>(gradient.d_k, a.scale, a.width, gradient.lane, b.d_k.row(key) + gradient.offset);
  StoreRow<Shape>(gradient.d_v, 1.0f, a.width, gradient.lane, b.d_v.row(key) + gradient.offset);
}

// Columns: a warp looks through all groups for those that have its column.
template <typename Shape, typename T>
__global__ void __launch_bounds__(kAttentionWarps* kWarp)
    ColumnGradientKernel(AttentionArguments<T> a, BackwardArguments<T> b) {
  __shared__ __align__(16) float staged_k[kAttentionWarps][Shape::kRoom];
  __shared__ __align__(16) float staged_v[kAttentionWarps][Shape::kRoom];
  const int warp = threadIdx.x / kWarp;
  const int column = blockIdx.x * kAttentionWarps + warp;
  if (column >= a.columns) return;
  auto gradient = StartKey<Shape>(a, a.column_k.row(column), a.column_v.row(column), staged_k[warp],
                                  staged_v[warp]);
  for (int base = 0; base < a.group_count; base += kWarp) {
    for (int side = 4; side < kGroupFields; ++side) {
      const int candidate = base + gradient.lane;
      unsigned found =
          __ballot_sync(kAllLanes, candidate < a.group_count &&
                                       a.groups[kGroupFields * candidate + side] == column);
      for (; found != 0; found &= found - 1) {
        const int32_t* group = a.groups + kGroupFields * (base + __ffs(found) - 1);
        gradient.AddRange(a, b, kContext, group[0], group[1]);
      }
    }
  }
  StoreRow<Shape>(gradient.d_k, a.scale, a.width, gradient.lane,
                  b.d_column_k.row(column) + gradient.offset);
  StoreRow<Shape>(gradient.d_v, 1.0f, a.width, gradient.lane,
                  b.d_column_v.row(column) + gradient.offset);
}

// Launches kernel(a, b) over ceil(rows / warps) x heads x depth blocks, unless there are none.
template <typename T, typename Kernel>
void Launch(Kernel kernel, int64_t blocks, int64_t depth, const AttentionArguments<T>& a,
            const BackwardArguments<T>& b) {
  if (blocks == 0 || depth == 0) return;
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(a.heads),
                  static_cast<unsigned>(depth));
  kernel<<<grid, kAttentionWarps * kWarp, 0, c10::cuda::getCurrentCUDAStream()>>>(a, b);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename Shape, typename T>
void LaunchBackward(const AttentionArguments<T>& a, const BackwardArguments<T>& b) {
  Launch(QueryGradientKernel<Shape, T>, CeilDivide(a.queries, kAttentionWarps), 1, a, b);
  Launch(PromptGradientKernel<Shape, T>, b.chunks, CeilDivide(a.prompt_rows, kAttentionWarps), a,
         b);
  Launch(KeyGradientKernel<Shape, T>, CeilDivide(a.rows, kAttentionWarps), 1, a, b);
  if (b.d_column_k.data != nullptr) {
    Launch(ColumnGradientKernel<Shape, T>, CeilDivide(a.columns, kAttentionWarps), 1, a, b);
  }
}

}  // namespace

void AttentionBackward(const AttentionInputs& inputs, const AttentionLayout& layout,
                       const at::Tensor& out, const at::Tensor& log_sum_exp,
                       const at::Tensor& d_out, AttentionGradients* gradients) {
  const c10::cuda::CUDAGuard guard(out.device());
  if (TilesApply(inputs, layout, out, d_out, gradients->q, gradients->k, gradients->v,
                 gradients->column_k, gradients->column_v)) {
    return TileAttentionBackward(inputs, layout, out, log_sum_exp, d_out, *gradients);
  }
  const int64_t queries = inputs.q.size(0), rows = inputs.k.size(0), kinds = out.size(0);
  const at::Tensor key_document = KeySegments(layout.causal, rows);
  const at::Tensor key_group = inputs.context ? KeySegments(layout.context, rows) : at::Tensor();
  const auto fp32 = log_sum_exp.options().dtype(at::kFloat);
  const at::Tensor delta = at::empty({kinds, queries, inputs.heads}, fp32);
  const int64_t chunk_queries = std::max<int64_t>(256, CeilDivide(queries, 64));
  const int64_t chunks = layout.prompt_rows > 0 ? CeilDivide(queries, chunk_queries) : 0;
  const at::Tensor prompt_partial =
      at::empty({chunks, layout.prompt_rows, 2, inputs.q.size(1)}, fp32);
  WithAttentionShape(
      inputs,
      [&](auto element, auto shape) {
        using T = decltype(element);
        BackwardArguments<T> b;
        b.out = KindRowsOf<T>(out);
        b.d_out = KindRowsOf<T>(d_out);
        b.log_sum_exp = KindRowsOf<float>(log_sum_exp);
        b.delta = KindRowsOf<float>(delta);
        b.kinds = static_cast<int>(kinds);
        b.d_q = MatrixOf<T>(gradients->q);
        b.d_k = MatrixOf<T>(gradients->k);
        b.d_v = MatrixOf<T>(gradients->v);
        b.d_column_k = MatrixOf<T>(gradients->column_k);
        b.d_column_v = MatrixOf<T>(gradients->column_v);
        b.key_document = Indices(key_document);
        b.key_group = Indices(key_group);
        b.prompt_partial = Data<float>(prompt_partial);
        b.chunks = static_cast<int>(chunks);
        b.chunk_queries = static_cast<int>(chunk_queries);
        LaunchBackward<decltype(shape)>(ArgumentsOf<T>(inputs, layout), b);
      },
      d_out);
}

}  // namespace mixrec::model::cuda
