// Private to backward attention by tiles: weights and gradients of a query's scores from what the
// forward pass left of them.
#pragma once

#include "model/kernels_cuda_tiles.cuh"

namespace mixrec::model::cuda {

// A thread's two queries: log-sum-exp (in units of log2) and delta of both attentions.
struct QuerySums {
  float log_sum_exp[2][2] = {}, delta[2][2] = {};  // [kind][query]
};

// Half of a row of one head, held by one of two neighbouring threads.
template <int kHead>
struct HalfRow {
  Pack<Bf16, 8> packs[kHead / 16] = {};
  __device__ __forceinline__ static int Column(int pack) {
    return static_cast<int>(threadIdx.x) % 2 * (kHead / 2) + 8 * pack;
  }
  __device__ __forceinline__ void Load(const Bf16* row) {
#pragma unroll
    for (int p = 0; p < kHead / 16; ++p) {
      packs[p] = *reinterpret_cast<const Pack<Bf16, 8>*>(row + Column(p));
    }
  }
  __device__ __forceinline__ float Dot(const Bf16* row) const {
    float sum = 0.0f;
#pragma unroll
    for (int p = 0; p < kHead / 16; ++p) {
      float other[8];
      cuda::Load(row + Column(p), other);
#pragma unroll
      for (int i = 0; i < 8; ++i) sum += ToFloat(packs[p].values[i]) * other[i];
    }
    return sum;
  }
};

// weight = exp(score - log-sum-exp) for both attentions and d_score, the gradient of the scores.
template <int kTiles>
__device__ __forceinline__ void ScoreGradient(const float (&scores)[kTiles][4],
                                              const float (&d_weight)[2][kTiles][4],
                                              const Seen& seen, const QuerySums& sums, float scale,
                                              float (&weight)[2][kTiles][4],
                                              float (&d_score)[kTiles][4]) {
#pragma unroll
  for (int j = 0; j < kTiles; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int h = i >> 1;
      const bool causal = seen.causal >> (4 * j + i) & 1, context = seen.context >> (4 * j + i) & 1;
      weight[0][j][i] = causal ? exp2f(scores[j][i] * scale - sums.log_sum_exp[0][h]) : 0.0f;
      weight[1][j][i] = context ? exp2f(scores[j][i] * scale - sums.log_sum_exp[1][h]) : 0.0f;
      d_score[j][i] = weight[0][j][i] * (d_weight[0][j][i] - sums.delta[0][h]) +
                      weight[1][j][i] * (d_weight[1][j][i] - sums.delta[1][h]);
    }
  }
}

// The same of rows before the group, which the causal attention alone sees. No weight is above 1,
// so rows that are not there (zeros) give finite gradients, which multiply zeros.
template <int kTiles>
__device__ __forceinline__ void EarlierScoreGradient(const float (&scores)[kTiles][4],
                                                     const float (&d_weight)[kTiles][4],
                                                     const QuerySums& sums, float scale,
                                                     float (&d_score)[kTiles][4]) {
#pragma unroll
  for (int j = 0; j < kTiles; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int h = i >> 1;
      const float weight = exp2f(fminf(scores[j][i] * scale - sums.log_sum_exp[kCausal][h], 0.0f));
      d_score[j][i] = weight * (d_weight[j][i] - sums.delta[kCausal][h]);
    }
  }
}

}  // namespace mixrec::model::cuda
