// Sums over the rows of a matrix, column by column, in two passes of fixed order: blocks of
// (row slab x column slab) write partial sums, a second kernel adds them up. Private to
// kernels_cuda_*.cu.
#pragma once

#include <algorithm>

#include "model/kernels_cuda_device.cuh"

namespace mixrec::model::cuda {

constexpr int kSlabWarps = 8;  // a warp of the slab's block takes every eighth of its rows

// How [rows, columns] is cut into blocks.
struct Slabs {
  int64_t rows, columns, slab_rows, slabs;
  dim3 grid(int pack) const {
    return dim3(static_cast<unsigned>(CeilDivide(columns, kWarp * pack)),
                static_cast<unsigned>(slabs));
  }
};

inline Slabs SlabsOf(int64_t rows, int64_t columns) {
  const int64_t slab_rows = std::max<int64_t>(32, CeilDivide(rows, 256));
  return {rows, columns, slab_rows, CeilDivide(rows, slab_rows)};
}

// A block's sums (each thread: its own rows, kPack columns from its lane's on) to
// partial [slabs, kSums, columns]. All threads of the block call it.
template <int kSums, int kPack>
__device__ void StorePartialSums(const float (&sums)[kSums][kPack], int64_t columns,
                                 float* partial) {
  __shared__ float shared[kSlabWarps][kWarp * kPack];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
#pragma unroll
  for (int s = 0; s < kSums; ++s) {
#pragma unroll
    for (int i = 0; i < kPack; ++i) shared[warp][lane * kPack + i] = sums[s][i];
    __syncthreads();
    for (int c = threadIdx.x; c < kWarp * kPack; c += blockDim.x) {
      const int64_t column = static_cast<int64_t>(blockIdx.x) * kWarp * kPack + c;
      float total = 0.0f;
      for (int w = 0; w < kSlabWarps; ++w) total += shared[w][c];
      if (column < columns) {
        partial[(static_cast<int64_t>(blockIdx.y) * kSums + s) * columns + column] = total;
      }
    }
    __syncthreads();
  }
}

// Where a column sum goes: added to `plus`, subtracted from `minus` (null: not wanted).
struct SumTarget {
  float* plus = nullptr;
  float* minus = nullptr;
};
constexpr int kMostSums = 4;
struct SumTargets {
  SumTarget of[kMostSums];
};

// Adds partial [slabs, sums, columns], summed over the slabs, to the targets of each sum.
void AddPartialSums(const at::Tensor& partial, const SumTargets& targets);

}  // namespace mixrec::model::cuda
