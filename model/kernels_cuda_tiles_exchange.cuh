// Private to backward attention by tiles: a tile's weights and gradients of scores, handed from the
// warps that have them by query to those that want them by key.
#pragma once

#include "model/kernels_cuda_tiles.cuh"

namespace mixrec::model::cuda {

constexpr int kExchangePitch = kTileRows;  // SharedTile<32> pads it

// Left operands [16, 16 kBlocks] to rows [row, row + 16) of a tile.
template <int kBlocks>
__device__ __forceinline__ void StoreLeft(const uint32_t (&left)[kBlocks][4], int row, int lane,
                                          const SharedTile<kExchangePitch>& to) {
#pragma unroll
  for (int k = 0; k < kBlocks; ++k) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      *reinterpret_cast<uint32_t*>(to.at(row + (lane >> 2) + 8 * (i & 1),
                                         16 * k + 8 * (i >> 1) + 2 * (lane & 3))) = left[k][i];
    }
  }
}

// sums [2][16, 8] += the 16 keys from `key` on of `weights`^T times columns [column, column + 16)
// of `rows`; both tiles have 32 rows, the queries.
template <int kHead>
__device__ __forceinline__ void AddTransposed(const SharedTile<kExchangePitch>& weights, int key,
                                              const SharedTile<kHead>& rows, int column, int lane,
                                              float (&sums)[2][4]) {
#pragma unroll
  for (int k = 0; k < kTileRows; k += 16) {
    uint32_t a[4], b[4];
    LoadLeftTransposed(weights, key, k, lane, a);
    LoadRightTransposed(rows, column, k, lane, b);
    MultiplyAdd(a, b[0], b[1], sums[0]);
    MultiplyAdd(a, b[2], b[3], sums[1]);
  }
}

}  // namespace mixrec::model::cuda
