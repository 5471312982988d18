// Products of small bf16 tiles in shared memory on tensor cores (mma.sync m16n8k16, fp32 sums), and
// asynchronous copies into such tiles. Private to kernels_cuda_*.cu.
//
// Fragments, lane = 4 g + t: accumulators hold rows g and g + 8, columns 2 t and 2 t + 1 of an
// 16 x 8 tile (PTX ISA, "Matrix Fragments for mma.m16n8k16").
#pragma once

#include "model/kernels_cuda_device.cuh"

namespace mixrec::model::cuda {

using Bf16 = __nv_bfloat16;

__device__ __forceinline__ uint32_t SharedAddress(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// 16 bytes; zeros when not `valid` (`from` is not read then).
__device__ __forceinline__ void CopyAsync(Bf16* to, const Bf16* from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(SharedAddress(to)),
               "l"(from), "r"(valid ? 16 : 0)
               : "memory");
}
template <typename Word>
__device__ __forceinline__ void CopyWordAsync(Word* to, const Word* from) {
  static_assert(sizeof(Word) == 4);
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;\n" ::"r"(SharedAddress(to)), "l"(from)
               : "memory");
}
__device__ __forceinline__ void CommitCopies() {
  asm volatile("cp.async.commit_group;\n" ::: "memory");
}
// Waits until at most kPending of this thread's groups of copies are under way.
template <int kPending>
__device__ __forceinline__ void WaitCopies() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kPending) : "memory");
}

// A tile of rows in shared memory. The pitch is odd in units of 16 bytes, so that eight rows of a
// matrix fall into different banks.
template <int kColumns>
struct SharedTile {
  static constexpr int kPitch = kColumns + 8;
  Bf16* data;
  __device__ __forceinline__ Bf16* at(int row, int column) const {
    return data + row * kPitch + column;
  }
};

__device__ __forceinline__ void LoadFragments(const Bf16* row, uint32_t (&to)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(SharedAddress(row))
               : "memory");
}
__device__ __forceinline__ void LoadTransposedFragments(const Bf16* row, uint32_t (&to)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(SharedAddress(row))
               : "memory");
}

// Left operand, 16 x 16 at (row, k) of a tile stored [row][k].
template <typename Tile>
__device__ __forceinline__ void LoadLeft(const Tile& tile, int row, int k, int lane,
                                         uint32_t (&to)[4]) {
  LoadFragments(tile.at(row + (lane & 15), k + (lane >> 4) * 8), to);
}
// The same of a tile stored [k][row].
template <typename Tile>
__device__ __forceinline__ void LoadLeftTransposed(const Tile& tile, int row, int k, int lane,
                                                   uint32_t (&to)[4]) {
  LoadTransposedFragments(tile.at(k + (lane & 7) + (lane >> 4) * 8, row + ((lane >> 3) & 1) * 8),
                          to);
}
// Right operand, k x 16 columns at (k, column) of a tile stored [column][k]: to[0..1] for the first
// eight columns, to[2..3] for the others.
template <typename Tile>
__device__ __forceinline__ void LoadRight(const Tile& tile, int column, int k, int lane,
                                          uint32_t (&to)[4]) {
  LoadFragments(tile.at(column + (lane & 7) + (lane >> 4) * 8, k + ((lane >> 3) & 1) * 8), to);
}
// The same of a tile stored [k][column].
template <typename Tile>
__device__ __forceinline__ void LoadRightTransposed(const Tile& tile, int column, int k, int lane,
                                                    uint32_t (&to)[4]) {
  LoadTransposedFragments(tile.at(k + (lane & 15), column + (lane >> 4) * 8), to);
}

// sum [16 x 8] += left [16 x 16] right [16 x 8].
__device__ __forceinline__ void MultiplyAdd(const uint32_t (&left)[4], uint32_t right0,
                                            uint32_t right1, float (&sum)[4]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};\n"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right0), "r"(right1));
}

__device__ __forceinline__ uint32_t PackPair(float first, float second) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// sums [16, 8 kTiles] = rows [row, row + 16) of `left` times rows [0, 8 kTiles) of `right`, both
// [.][kColumns]. kTiles is even.
template <int kColumns, int kTiles>
__device__ __forceinline__ void MultiplyRows(const SharedTile<kColumns>& left, int row,
                                             const SharedTile<kColumns>& right, int lane,
                                             float (&sums)[kTiles][4]) {
#pragma unroll
  for (int j = 0; j < kTiles; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[j][i] = 0.0f;
  }
#pragma unroll
  for (int k = 0; k < kColumns; k += 16) {
    uint32_t a[4];
    LoadLeft(left, row, k, lane, a);
#pragma unroll
    for (int j = 0; j < kTiles; j += 2) {
      uint32_t b[4];
      LoadRight(right, 8 * j, k, lane, b);
      MultiplyAdd(a, b[0], b[1], sums[j]);
      MultiplyAdd(a, b[2], b[3], sums[j + 1]);
    }
  }
}

// sums [16, kColumns] += weights [16, 8 kTiles] (as left operands) times rows of `right`.
template <int kColumns, int kBlocks>
__device__ __forceinline__ void AddWeightedRows(const uint32_t (&weights)[kBlocks][4],
                                                const SharedTile<kColumns>& right, int lane,
                                                float (&sums)[kColumns / 8][4]) {
#pragma unroll
  for (int k = 0; k < kBlocks; ++k) {
#pragma unroll
    for (int j = 0; j < kColumns / 8; j += 2) {
      uint32_t b[4];
      LoadRightTransposed(right, 8 * j, 16 * k, lane, b);
      MultiplyAdd(weights[k], b[0], b[1], sums[j]);
      MultiplyAdd(weights[k], b[2], b[3], sums[j + 1]);
    }
  }
}

// Accumulators [16, 8 kTiles] as left operands of the next product, rounded to bf16.
template <int kTiles>
__device__ __forceinline__ void AsLeft(const float (&sums)[kTiles][4],
                                       uint32_t (&left)[kTiles / 2][4]) {
#pragma unroll
  for (int k = 0; k < kTiles / 2; ++k) {
    left[k][0] = PackPair(sums[2 * k][0], sums[2 * k][1]);
    left[k][1] = PackPair(sums[2 * k][2], sums[2 * k][3]);
    left[k][2] = PackPair(sums[2 * k + 1][0], sums[2 * k + 1][1]);
    left[k][3] = PackPair(sums[2 * k + 1][2], sums[2 * k + 1][3]);
  }
}

}  // namespace mixrec::model::cuda
