// Backward attention by tiles, first pass: a tile's queries give their own gradient, that of the
// rows of their group when the group is this tile, and partial gradients of the shared keys.
#include "model/kernels_cuda_tiles_backward.cuh"
#include "model/kernels_cuda_tiles_exchange.cuh"
#include "model/kernels_cuda_tiles_scores.cuh"

namespace mixrec::model::cuda {
namespace {

template <int kHead>
constexpr size_t QueryBytes() {
  return sizeof(Bf16) * kTileRows *
             (SharedTile<kHead>::kPitch * 7 + SharedTile<kExchangePitch>::kPitch * 2) +
         sizeof(float) * 2 * kTileRows;
}

template <int kHead>
__global__ void __launch_bounds__(kTileThreads)
    TileQueryGradientKernel(TileArguments a, TileBackwardArguments b) {
  extern __shared__ __align__(16) Bf16 room[];
  constexpr int kRow = SharedTile<kHead>::kPitch;
  const auto part = [&](int index) { return SharedTile<kHead>{room + index * kTileRows * kRow}; };
  const SharedTile<kHead> q = part(0), d_out[2] = {part(1), part(2)};
  const auto k = [&](int chunk) { return part(3 + (chunk & 1)); };
  const auto v = [&](int chunk) { return part(5 + (chunk & 1)); };
  // Where the second chunk will be copied to when these have served.
  const SharedTile<kHead> shared_k = k(1), shared_v = v(1);
  Bf16* rest = part(7).data;
  constexpr int kExchange = SharedTile<kExchangePitch>::kPitch * kTileRows;
  static_assert(kHead >= kExchangePitch, "weights have room where values were");
  const SharedTile<kExchangePitch> d_score_exchange{rest}, causal_exchange{rest + kExchange};
  auto* deltas = reinterpret_cast<float*>(rest + 2 * kExchange);  // [2][kTileRows]

  const Tile tile(a.tiles + static_cast<int64_t>(blockIdx.x / a.heads) * kTileFields);
  if (tile[kTileKeyBegin] == tile[kTileKeyEnd]) return;
  const TileKeys keys(a, tile);
  const int head = blockIdx.x % a.heads, offset = head * kHead;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, first = warp * 16;
  const int query_begin = tile[kTileQueryBegin], query_end = tile[kTileQueryEnd];
  const int kinds = a.context ? 2 : 1;
  const float scale = a.scale * kLog2E;

  const auto copy_chunk = [&](int chunk) {
    const int begin = keys.Begin(tile, chunk), end = keys.End(tile, chunk);
    CopyRows<kHead, kTileRows>(a.k, offset, begin, end, k(chunk));
    CopyRows<kHead, kTileRows>(a.v, offset, begin, end, v(chunk));
  };
  if (query_begin < query_end) {
    CopyRows<kHead, kTileRows>(a.q, offset, query_begin, query_end, q);
    for (int kind = 0; kind < kinds; ++kind) {
      const Matrix<Bf16> rows{b.d_out.row(kind, 0), b.d_out.stride};
      CopyRows<kHead, kTileRows>(rows, offset, query_begin, query_end, d_out[kind]);
    }
  } else {  // nobody asks: zeros, so that nothing undefined is multiplied by zero
    for (int i = threadIdx.x; i < 3 * kTileRows * kRow / 2; i += kTileThreads) {
      reinterpret_cast<uint32_t*>(room)[i] = 0;
    }
  }
  copy_chunk(0);
  if (keys.shared > 0) CopyShared(a, keys, 0, offset, shared_k, shared_v);
  CommitCopies();

  // What the copies are waited for with: a query's results (two threads a query) and sums.
  HalfRow<kHead> out[2];
  bool valid[2];
  int rows[2];
  QuerySums sums;
#pragma unroll
  for (int kind = 0; kind < 2; ++kind) {
    const int query = query_begin + static_cast<int>(threadIdx.x) / 2;
    if (kind < kinds && query < query_end) out[kind].Load(b.out.row(kind, query) + offset);
  }
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int query = query_begin + first + (lane >> 2) + 8 * h;
    valid[h] = query < query_end;
    rows[h] = valid[h] ? a.query_rows[query] : -1;
#pragma unroll
    for (int kind = 0; kind < 2; ++kind) {
      if (kind < kinds && valid[h]) {
        sums.log_sum_exp[kind][h] = b.log_sum_exp.row(kind, query)[head] * kLog2E;
      }
    }
  }
  WaitCopies<0>();
  __syncthreads();

#pragma unroll
  for (int kind = 0; kind < 2; ++kind) {
    if (kind >= kinds) break;
    const int query = threadIdx.x / 2;
    float delta = out[kind].Dot(d_out[kind].at(query, 0));
    delta += __shfl_xor_sync(kAllLanes, delta, 1);
    if (threadIdx.x % 2 == 0) {
      deltas[kind * kTileRows + query] = delta;
      if (query_begin + query < query_end) b.delta.row(kind, query_begin + query)[head] = delta;
    }
  }
  __syncthreads();
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    for (int kind = 0; kind < kinds && valid[h]; ++kind) {
      sums.delta[kind][h] = deltas[kind * kTileRows + first + (lane >> 2) + 8 * h];
    }
  }

  float d_q[kHead / 8][4] = {};
  // One chunk of keys: adds to d_q, and leaves weights and gradients of the scores to exchange, the
  // weights of the context attention in the place of the values.
  const auto take = [&](auto width, const SharedTile<kHead>& ks, const SharedTile<kHead>& vs,
                        const Seen& seen, bool exchange) {
    constexpr int kTiles = decltype(width)::value;
    float scores[kTiles][4], d_weight[2][kTiles][4], weight[2][kTiles][4], d_score[kTiles][4];
    MultiplyRows(q, first, ks, lane, scores);
    MultiplyRows(d_out[0], first, vs, lane, d_weight[0]);
    if (__any_sync(kAllLanes, seen.context != 0)) {
      MultiplyRows(d_out[1], first, vs, lane, d_weight[1]);
    } else {
#pragma unroll
      for (int j = 0; j < kTiles; ++j) {
#pragma unroll
        for (int i = 0; i < 4; ++i) d_weight[1][j][i] = 0.0f;
      }
    }
    ScoreGradient(scores, d_weight, seen, sums, scale, weight, d_score);
    uint32_t left[kTiles / 2][4];
    AsLeft(d_score, left);
    AddWeightedRows<kHead>(left, ks, lane, d_q);
    if (!exchange) return;
    StoreLeft(left, first, lane, d_score_exchange);
    AsLeft(weight[kCausal], left);
    StoreLeft(left, first, lane, causal_exchange);
    if (kinds == 1) return;
    __syncthreads();
    AsLeft(weight[kContext], left);
    StoreLeft(left, first, lane, SharedTile<kExchangePitch>{vs.data});
  };
  // A chunk of rows before the group: adds to d_q alone.
  const auto take_earlier = [&](const SharedTile<kHead>& ks, const SharedTile<kHead>& vs) {
    float scores[kTileRows / 8][4], d_weight[kTileRows / 8][4], d_score[kTileRows / 8][4];
    MultiplyRows(q, first, ks, lane, scores);
    MultiplyRows(d_out[kCausal], first, vs, lane, d_weight);
    EarlierScoreGradient(scores, d_weight, sums, scale, d_score);
    uint32_t left[kTileRows / 16][4];
    AsLeft(d_score, left);
    AddWeightedRows<kHead>(left, ks, lane, d_q);
  };
  // Gradients of 16 keys from `key` on, columns [column, column + 16), by all queries of the tile.
  const auto gather = [&](int key, int column, const SharedTile<kHead>& vs, float(&d_k)[2][4],
                          float(&d_v)[2][4]) {
    AddTransposed(d_score_exchange, key, q, column, lane, d_k);
    AddTransposed(causal_exchange, key, d_out[kCausal], column, lane, d_v);
    if (kinds == 1) return;
    AddTransposed(SharedTile<kExchangePitch>{vs.data}, key, d_out[kContext], column, lane, d_v);
  };

  for (int base = 0; base < keys.shared; base += kSharedRows) {
    if (base > 0) {
      CopyShared(a, keys, base, offset, shared_k, shared_v);
      CommitCopies();
      WaitCopies<0>();
      __syncthreads();
    }
    take(std::integral_constant<int, kSharedRows / 8>(), shared_k, shared_v,
         SeenShared<kSharedRows / 8>(keys, base, lane, valid), true);
    __syncthreads();
    for (int column = 16 * warp; column < kHead; column += 16 * kTileWarps) {
      float d_k[2][4] = {}, d_v[2][4] = {};
      gather(0, column, shared_v, d_k, d_v);
#pragma unroll
      for (int j = 0; j < 2; ++j) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const int key = base + (lane >> 2) + 8 * h;
          if (key >= keys.shared) continue;
          float* to = b.partial + static_cast<int64_t>(tile[kTilePartial] + key) * 2 * b.width +
                      offset + column + 8 * j + 2 * (lane & 3);
          *reinterpret_cast<float2*>(to) =
              make_float2(d_k[j][2 * h] * a.scale, d_k[j][2 * h + 1] * a.scale);
          *reinterpret_cast<float2*>(to + b.width) = make_float2(d_v[j][2 * h], d_v[j][2 * h + 1]);
        }
      }
    }
    __syncthreads();
  }
  for (int chunk = 0; chunk < keys.chunks; ++chunk) {
    if (chunk + 1 < keys.chunks) {
      copy_chunk(chunk + 1);
      CommitCopies();
      WaitCopies<1>();
    } else {
      WaitCopies<0>();
    }
    __syncthreads();
    const bool own = chunk < keys.own_chunks, exchange = own && tile[kTileWhole] != 0;
    if (own) {
      take(std::integral_constant<int, kTileRows / 8>(), k(chunk), v(chunk),
           SeenRows<kTileRows / 8>(a, own, keys.Begin(tile, chunk), keys.End(tile, chunk), lane,
                                   valid, rows),
           exchange);
    } else {
      take_earlier(k(chunk), v(chunk));
    }
    __syncthreads();
    if (!exchange) continue;
    for (int column = 0; column < kHead; column += 16) {
      float d_k[2][4] = {}, d_v[2][4] = {};
      gather(first, column, v(chunk), d_k, d_v);
#pragma unroll
      for (int j = 0; j < 2; ++j) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const int key = tile[kTileKeyBegin] + first + (lane >> 2) + 8 * h;
          if (key >= tile[kTileKeyEnd]) continue;
          const int at = offset + column + 8 * j + 2 * (lane & 3);
          *reinterpret_cast<uint32_t*>(b.d_k.row(key) + at) =
              PackPair(d_k[j][2 * h] * a.scale, d_k[j][2 * h + 1] * a.scale);
          *reinterpret_cast<uint32_t*>(b.d_v.row(key) + at) =
              PackPair(d_v[j][2 * h], d_v[j][2 * h + 1]);
        }
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int j = 0; j < kHead / 8; ++j) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      if (!valid[h]) continue;
      const int query = query_begin + first + (lane >> 2) + 8 * h;
      *reinterpret_cast<uint32_t*>(b.d_q.row(query) + offset + 8 * j + 2 * (lane & 3)) =
          PackPair(d_q[j][2 * h] * a.scale, d_q[j][2 * h + 1] * a.scale);
    }
  }
}

}  // namespace

void TileQueryGradient(int64_t tiles, const TileArguments& a, const TileBackwardArguments& b) {
  WithHead(b.width / a.heads, [&](auto head) {
    constexpr int kHead = decltype(head)::value;
    LaunchTiles(TileQueryGradientKernel<kHead>, tiles, a.heads, QueryBytes<kHead>(), a, b);
  });
}

}  // namespace mixrec::model::cuda
