// Private to backward attention by tiles: what its passes share (kernels_cuda_tiles_backward.cu).
#pragma once

#include "model/kernels_cuda_tiles.cuh"

namespace mixrec::model::cuda {

struct TileBackwardArguments {
  KindRows<Bf16> out, d_out;
  KindRows<float> log_sum_exp, delta;  // delta: row sums of d_out * out
  Matrix<Bf16> d_q, d_k, d_v;
  float* partial;  // [partial rows, 2 (k, v), D]
  const int32_t* key_tiles;
  int64_t width;  // D
};

// The first pass: d_q, delta, the gradients of a tile's own rows, and the partial ones of the
// shared keys.
void TileQueryGradient(int64_t tiles, const TileArguments& a, const TileBackwardArguments& b);
// The second pass, over the tiles that b.key_tiles lists: adds what the queries of other tiles give
// to d_k and d_v.
void TileKeyGradient(int64_t key_tiles, const TileArguments& a, const TileBackwardArguments& b);

}  // namespace mixrec::model::cuda
