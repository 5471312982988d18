// Attention by tiles (attention_tiles.h), bf16 on tensor cores: a block of two warps takes a tile's
// queries and one head, a warp 16 of the queries. What both directions share. Private to
// kernels_cuda_tiles_*.cu.
#pragma once

#include "model/attention_tiles.h"
#include "model/kernels_cuda_attention.cuh"
#include "model/kernels_cuda_mma.cuh"

namespace mixrec::model::cuda {

constexpr int kTileThreads = 64;
constexpr int kTileWarps = kTileThreads / kWarp;
constexpr int kSharedRows = 16;  // shared keys (prompt, columns) taken at once
constexpr float kLog2E = 1.4426950408889634f;
constexpr float kUnseen = -1e30f;  // score of a key that is not seen; finite, so differences are
static_assert(kTileRows == 32, "two warps of 16 rows");

struct TileArguments {
  Matrix<Bf16> q, k, v, column_k, column_v;
  const int32_t *tiles, *query_rows;
  int prompt_rows, heads;
  bool context;
  float scale;
};

struct Tile {
  int32_t fields[kTileFields];
  __device__ __forceinline__ explicit Tile(const int32_t* from) {
#pragma unroll
    for (int i = 0; i < kTileFields; i += 4) {
      const int4 four = *reinterpret_cast<const int4*>(from + i);
      fields[i] = four.x;
      fields[i + 1] = four.y;
      fields[i + 2] = four.z;
      fields[i + 3] = four.w;
    }
  }
  __device__ __forceinline__ int operator[](int field) const { return fields[field]; }
  __device__ __forceinline__ int queries() const {
    return fields[kTileQueryEnd] - fields[kTileQueryBegin];
  }
};

// The keys of a tile's queries, in order: shared ones (prompt rows, then columns), the group's rows
// in chunks, the document's earlier rows in chunks.
struct TileKeys {
  int prompt, shared, first_column, second_column;
  int own_chunks, chunks;

  __device__ __forceinline__ TileKeys(const TileArguments& a, const Tile& tile) {
    prompt = tile[kTilePrompt] != 0 ? a.prompt_rows : 0;
    const int user = tile[kTileUserColumn], item = tile[kTileItemColumn];
    first_column = user >= 0 ? user : item;
    second_column = item;
    shared = prompt + (a.context ? (user >= 0) + (item >= 0) : 0);
    own_chunks = (tile[kTileGroupEnd] - tile[kTileGroupBegin] + kTileRows - 1) / kTileRows;
    chunks = own_chunks + (tile[kTileGroupBegin] - tile[kTileDocument] + kTileRows - 1) / kTileRows;
  }
  __device__ __forceinline__ int Begin(const Tile& tile, int chunk) const {
    return chunk < own_chunks ? tile[kTileGroupBegin] + chunk * kTileRows
                              : tile[kTileDocument] + (chunk - own_chunks) * kTileRows;
  }
  __device__ __forceinline__ int End(const Tile& tile, int chunk) const {
    const int end = chunk < own_chunks ? tile[kTileGroupEnd] : tile[kTileGroupBegin];
    return min(end, Begin(tile, chunk) + kTileRows);
  }
  __device__ __forceinline__ const Bf16* SharedRow(int index, const Matrix<Bf16>& own,
                                                   const Matrix<Bf16>& column) const {
    if (index < prompt) return own.row(index);
    return column.row(index == prompt ? first_column : second_column);
  }
};

// Starts copying rows [begin, end) of one head to a tile; rows up to kRows are zeroed.
template <int kHead, int kRows>
__device__ __forceinline__ void CopyRows(const Matrix<Bf16>& from, int offset, int begin, int end,
                                         const SharedTile<kHead>& to) {
#pragma unroll
  for (int i = threadIdx.x; i < kRows * (kHead / 8); i += kTileThreads) {
    const int row = i / (kHead / 8), column = i % (kHead / 8) * 8;
    const bool valid = begin + row < end;
    CopyAsync(to.at(row, column), from.row(valid ? begin + row : begin) + offset + column, valid);
  }
}

template <int kHead>
__device__ __forceinline__ void CopyShared(const TileArguments& a, const TileKeys& keys, int first,
                                           int offset, const SharedTile<kHead>& to_k,
                                           const SharedTile<kHead>& to_v) {
#pragma unroll
  for (int i = threadIdx.x; i < kSharedRows * (kHead / 8); i += kTileThreads) {
    const int row = i / (kHead / 8), column = i % (kHead / 8) * 8;
    const bool valid = first + row < keys.shared;
    const int index = valid ? first + row : 0;
    CopyAsync(to_k.at(row, column), keys.SharedRow(index, a.k, a.column_k) + offset + column,
              valid);
    CopyAsync(to_v.at(row, column), keys.SharedRow(index, a.v, a.column_v) + offset + column,
              valid);
  }
}

// Which of a thread's scores count, a bit each (4 j + i for sums[j][i]), for both kinds.
struct Seen {
  uint32_t causal = 0, context = 0;
};

// Scores of 16 queries with kTiles * 8 shared keys from `first` on.
template <int kTiles>
__device__ __forceinline__ Seen SeenShared(const TileKeys& keys, int first, int lane,
                                           const bool (&valid)[2]) {
  Seen seen;
#pragma unroll
  for (int j = 0; j < kTiles; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int key = first + 8 * j + 2 * (lane & 3) + (i & 1);
      if (!valid[i >> 1] || key >= keys.shared) continue;
      (key < keys.prompt ? seen.causal : seen.context) |= 1u << (4 * j + i);
    }
  }
  return seen;
}

// Scores with rows [begin, end) of the document; `rows`: stream rows of the thread's two queries.
template <int kTiles>
__device__ __forceinline__ Seen SeenRows(const TileArguments& a, bool own, int begin, int end,
                                         int lane, const bool (&valid)[2], const int (&rows)[2]) {
  Seen seen;
#pragma unroll
  for (int j = 0; j < kTiles; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int key = begin + 8 * j + 2 * (lane & 3) + (i & 1);
      if (!valid[i >> 1] || key >= end) continue;
      if (key <= rows[i >> 1]) seen.causal |= 1u << (4 * j + i);
      if (own && a.context) seen.context |= 1u << (4 * j + i);
    }
  }
  return seen;
}

inline TileArguments TileArgumentsOf(const AttentionInputs& inputs, const AttentionLayout& layout) {
  TileArguments a;
  a.q = MatrixOf<Bf16>(inputs.q);
  a.k = MatrixOf<Bf16>(inputs.k);
  a.v = MatrixOf<Bf16>(inputs.v);
  a.column_k = MatrixOf<Bf16>(inputs.column_k);
  a.column_v = MatrixOf<Bf16>(inputs.column_v);
  a.tiles = Indices(layout.tiles);
  a.query_rows = Indices(layout.query_rows);
  a.prompt_rows = layout.prompt_rows;
  a.heads = static_cast<int>(inputs.heads);
  a.context = inputs.context;
  a.scale = 1.0f / std::sqrt(static_cast<float>(inputs.q.size(1) / inputs.heads));
  return a;
}

// Whether the tensors can be handled by tiles: bf16, a head size below, rows in 16-byte packs.
template <typename... Tensors>
bool TilesApply(const AttentionInputs& inputs, const AttentionLayout& layout,
                const Tensors&... others) {
  const int64_t width = inputs.q.size(1) / inputs.heads;
  if (!layout.tiles.defined() || inputs.q.scalar_type() != at::kBFloat16) return false;
  if (width != 32 && width != 64 && width != 80 && width != 128) return false;
  // Columns that some tile names must be there.
  if (inputs.context && layout.shared_starts.numel() - 1 - layout.prompt_rows !=
                            (inputs.column_k.defined() ? inputs.column_k.size(0) : 0)) {
    return false;
  }
  return AllowPacks(width, inputs.q, inputs.k, inputs.v, inputs.column_k, inputs.column_v,
                    others...);
}

// visit(std::integral_constant<int, head size>).
template <typename Visit>
void WithHead(int64_t width, Visit visit) {
  switch (width) {
    case 32:
      return visit(std::integral_constant<int, 32>());
    case 64:
      return visit(std::integral_constant<int, 64>());
    case 80:
      return visit(std::integral_constant<int, 80>());
    default:
      return visit(std::integral_constant<int, 128>());
  }
}

// Launches one block for every tile of a list and head.
template <typename... Parameters, typename... Arguments>
void LaunchTiles(void (*kernel)(Parameters...), int64_t tiles, int64_t heads, size_t shared_bytes,
                 const Arguments&... arguments) {
  if (tiles == 0) return;
  C10_CUDA_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                      cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(shared_bytes)));
  kernel<<<static_cast<unsigned>(tiles * heads), kTileThreads, shared_bytes,
           c10::cuda::getCurrentCUDAStream()>>>(arguments...);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

void TileAttentionForward(const AttentionInputs& inputs, const AttentionLayout& layout,
                          const at::Tensor& out, const at::Tensor& log_sum_exp);
void TileAttentionBackward(const AttentionInputs& inputs, const AttentionLayout& layout,
                           const at::Tensor& out, const at::Tensor& log_sum_exp,
                           const at::Tensor& d_out, const AttentionGradients& gradients);

}  // namespace mixrec::model::cuda
