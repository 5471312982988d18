// Backward attention by tiles, in three passes without atomics. A tile's queries give their own
// gradient, that of the rows of their group when the group is this tile, and partial gradients of
// the shared keys (prompt, columns). A tile's keys gather what the queries of other tiles give
// them. Shared keys add their partial gradients up.
#include "model/kernels_cuda_tiles_backward.cuh"

namespace mixrec::model::cuda {
namespace {

// Many tiles see the prompt's rows, few a column: a block takes 128 values of the one with 16 slabs
// of tiles side by side, or all 2,048 of the other.
constexpr int kSumThreads = 512;
constexpr int kPromptLanes = 32, kColumnLanes = kSumThreads;
constexpr int kSumPack = 4;  // values of a thread

// Blocks of a row of [k ; v].
__host__ __device__ constexpr int BlocksAcross(int64_t width, int lanes) {
  return static_cast<int>((2 * width + lanes * kSumPack - 1) / (lanes * kSumPack));
}

// Row r of the shared keys: sums its partial rows. A thread takes four columns of [k ; v].
__global__ void __launch_bounds__(kSumThreads)
    TileSharedGradientKernel(const int32_t* starts, const int32_t* entries, const float* partial,
                             int64_t width, int prompt_rows, Matrix<Bf16> d_k, Matrix<Bf16> d_v,
                             Matrix<Bf16> d_column_k, Matrix<Bf16> d_column_v) {
  __shared__ float4 sums[kSumThreads];
  const int prompt_blocks = prompt_rows * BlocksAcross(width, kPromptLanes);
  const bool prompt = static_cast<int>(blockIdx.x) < prompt_blocks;
  const int lanes = prompt ? kPromptLanes : kColumnLanes, slabs = kSumThreads / lanes;
  const int block = blockIdx.x - (prompt ? 0 : prompt_blocks), across = BlocksAcross(width, lanes);
  const int row = block / across + (prompt ? 0 : prompt_rows);
  const int lane = threadIdx.x % lanes, slab = threadIdx.x / lanes;
  const int64_t column = (static_cast<int64_t>(block % across) * lanes + lane) * kSumPack;
  const bool inside = column < 2 * width;
  float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  const int end = starts[row + 1];
#pragma unroll 4
  for (int i = starts[row] + slab; i < end; i += slabs) {
    if (!inside) break;
    const float4 value =
        *reinterpret_cast<const float4*>(partial + entries[i] * 2 * width + column);
    sum.x += value.x;
    sum.y += value.y;
    sum.z += value.z;
    sum.w += value.w;
  }
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (slab != 0 || !inside) return;
  float total[kSumPack] = {sum.x, sum.y, sum.z, sum.w};
  for (int s = 1; s < slabs; ++s) {
    const float4 value = sums[s * lanes + lane];
    total[0] += value.x;
    total[1] += value.y;
    total[2] += value.z;
    total[3] += value.w;
  }
  const bool key = column < width;
  const Matrix<Bf16>& matrix = prompt ? (key ? d_k : d_v) : (key ? d_column_k : d_column_v);
  Bf16* to = matrix.row(prompt ? row : row - prompt_rows) + (key ? column : column - width);
  if (prompt) {  // the prompt's own queries have been here
    float before[kSumPack];
    Load(to, before);
#pragma unroll
    for (int i = 0; i < kSumPack; ++i) total[i] += before[i];
  }
  Store(total, to);
}

}  // namespace

void TileAttentionBackward(const AttentionInputs& inputs, const AttentionLayout& layout,
                           const at::Tensor& out, const at::Tensor& log_sum_exp,
                           const at::Tensor& d_out, const AttentionGradients& gradients) {
  const int64_t width = inputs.q.size(1);
  const auto fp32 = log_sum_exp.options();
  const at::Tensor delta = at::empty(log_sum_exp.sizes(), fp32);
  const at::Tensor partial =
      at::empty({std::max<int64_t>(1, layout.shared_entries.numel()), 2, width}, fp32);
  const TileArguments a = TileArgumentsOf(inputs, layout);
  TileBackwardArguments b;
  b.out = KindRowsOf<Bf16>(out);
  b.d_out = KindRowsOf<Bf16>(d_out);
  b.log_sum_exp = KindRowsOf<float>(log_sum_exp);
  b.delta = KindRowsOf<float>(delta);
  b.d_q = MatrixOf<Bf16>(gradients.q);
  b.d_k = MatrixOf<Bf16>(gradients.k);
  b.d_v = MatrixOf<Bf16>(gradients.v);
  b.partial = Data<float>(partial);
  b.key_tiles = Indices(layout.key_tiles);
  b.width = width;
  TileQueryGradient(layout.tiles.size(0), a, b);
  TileKeyGradient(layout.key_tiles.numel(), a, b);
  const int64_t columns = gradients.column_k.defined() ? gradients.column_k.size(0) : 0;
  const int64_t blocks = layout.prompt_rows * BlocksAcross(width, kPromptLanes) +
                         columns * BlocksAcross(width, kColumnLanes);
  if (blocks == 0) return;
  TileSharedGradientKernel<<<static_cast<unsigned>(blocks), kSumThreads, 0,
                             c10::cuda::getCurrentCUDAStream()>>>(
      Indices(layout.shared_starts), Indices(layout.shared_entries), Data<float>(partial), width,
      layout.prompt_rows, b.d_k, b.d_v, MatrixOf<Bf16>(gradients.column_k),
      MatrixOf<Bf16>(gradients.column_v));
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace mixrec::model::cuda
