// Backward attention by tiles, in three passes without atomics. A tile's queries give their own
// gradient, that of the rows of their group when the group is this tile, and partial gradients of
// the shared keys (prompt, columns). A tile's keys gather what the queries of other tiles give
// them. Shared keys add their partial gradients up.
#include "model/kernels_cuda_tiles.cuh"

namespace mixrec::model::cuda {
namespace {

struct TileBackwardArguments {
  KindRows<Bf16> out, d_out;
  KindRows<float> log_sum_exp, delta;  // delta: row sums of d_out * out
  Matrix<Bf16> d_q, d_k, d_v;
  float* partial;  // [partial rows, 2 (k, v), D]
  const int32_t* key_tiles;
  int64_t width;  // D
};

constexpr int kExchangePitch = kTileRows;  // SharedTile<32> pads it

template <int kHead>
constexpr size_t QueryBytes() {
  return sizeof(Bf16) * (SharedTile<kHead>::kPitch * (7 * kTileRows + 2 * kSharedRows) +
                         SharedTile<kExchangePitch>::kPitch * 3 * kTileRows) +
         sizeof(float) * 2 * kTileRows;
}
template <int kHead>
constexpr size_t KeyBytes() {
  return sizeof(Bf16) * SharedTile<kHead>::kPitch * 6 * kTileRows + 2 * 12 * kTileRows;
}

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

template <int kHead>
__global__ void __launch_bounds__(kTileThreads)
    TileQueryGradientKernel(TileArguments a, TileBackwardArguments b) {
  extern __shared__ __align__(16) Bf16 room[];
  constexpr int kRow = SharedTile<kHead>::kPitch;
  const auto part = [&](int index) { return SharedTile<kHead>{room + index * kTileRows * kRow}; };
  const SharedTile<kHead> q = part(0), d_out[2] = {part(1), part(2)};
  const SharedTile<kHead> k[2] = {part(3), part(4)}, v[2] = {part(5), part(6)};
  const SharedTile<kHead> shared_k = part(7);
  const SharedTile<kHead> shared_v{shared_k.data + kSharedRows * kRow};
  Bf16* rest = shared_v.data + kSharedRows * kRow;
  constexpr int kExchange = SharedTile<kExchangePitch>::kPitch * kTileRows;
  const SharedTile<kExchangePitch> d_score_exchange{rest};
  const SharedTile<kExchangePitch> weight_exchange[2] = {{rest + kExchange},
                                                         {rest + 2 * kExchange}};
  auto* deltas = reinterpret_cast<float*>(rest + 3 * kExchange);  // [2][kTileRows]

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
    CopyRows<kHead, kTileRows>(a.k, offset, begin, end, k[chunk & 1]);
    CopyRows<kHead, kTileRows>(a.v, offset, begin, end, v[chunk & 1]);
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
  // One chunk of keys: adds to d_q, and leaves weights and gradients of the scores to exchange.
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
#pragma unroll
    for (int kind = 0; kind < 2; ++kind) {
      AsLeft(weight[kind], left);
      StoreLeft(left, first, lane, weight_exchange[kind]);
    }
  };
  // Gradients of 16 keys from `key` on, columns [column, column + 16), by all queries of the tile.
  const auto gather = [&](int key, int column, float(&d_k)[2][4], float(&d_v)[2][4]) {
    AddTransposed(d_score_exchange, key, q, column, lane, d_k);
    AddTransposed(weight_exchange[0], key, d_out[0], column, lane, d_v);
    if (kinds > 1) AddTransposed(weight_exchange[1], key, d_out[1], column, lane, d_v);
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
      gather(0, column, d_k, d_v);
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
    take(std::integral_constant<int, kTileRows / 8>(), k[chunk & 1], v[chunk & 1],
         SeenRows<kTileRows / 8>(a, own, keys.Begin(tile, chunk), keys.End(tile, chunk), lane,
                                 valid, rows),
         exchange);
    __syncthreads();
    if (!exchange) continue;
    for (int column = 0; column < kHead; column += 16) {
      float d_k[2][4] = {}, d_v[2][4] = {};
      gather(first, column, d_k, d_v);
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

// One other tile's queries and kind of attention, as the keys of a tile visit them.
struct Visit {
  int tile = 0, kind = 0;
};

template <int kHead>
__global__ void __launch_bounds__(kTileThreads)
    TileKeyGradientKernel(TileArguments a, TileBackwardArguments b) {
  extern __shared__ __align__(16) Bf16 room[];
  constexpr int kRow = SharedTile<kHead>::kPitch;
  const auto part = [&](int index) { return SharedTile<kHead>{room + index * kTileRows * kRow}; };
  const SharedTile<kHead> k = part(0), v = part(1);
  const SharedTile<kHead> q[2] = {part(2), part(3)}, d_out[2] = {part(4), part(5)};
  auto* sums = reinterpret_cast<float*>(room + 6 * kTileRows * kRow);  // [2][2][kTileRows]
  auto* query_rows = reinterpret_cast<int*>(sums + 4 * kTileRows);     // [2][kTileRows]

  const int index = b.key_tiles[blockIdx.x / a.heads];
  if (index < 0) return;
  const Tile tile(a.tiles + static_cast<int64_t>(index) * kTileFields);
  const bool whole = tile[kTileWhole] != 0;
  const int head = blockIdx.x % a.heads, offset = head * kHead;
  const int lane = threadIdx.x % kWarp, first = threadIdx.x / kWarp * 16;
  const float scale = a.scale * kLog2E;
  // Causal queries from the tile's own on, but a whole group has done its own; context within it.
  const int from = whole ? index + 1 : tile[kTileGroupTiles];
  const int kinds = whole || !a.context ? 1 : 2;
  const int visits = (tile[kTileDocumentTiles] - from) * kinds;

  const auto copy = [&](int visit) {
    const int32_t* other = a.tiles + static_cast<int64_t>(from + visit / kinds) * kTileFields;
    const int begin = other[kTileQueryBegin], end = other[kTileQueryEnd];
    const int kind = visit % kinds, buffer = visit & 1;
    if (begin >= end) return;
    CopyRows<kHead, kTileRows>(a.q, offset, begin, end, q[buffer]);
    const Matrix<Bf16> rows{b.d_out.row(kind, 0), b.d_out.stride};
    CopyRows<kHead, kTileRows>(rows, offset, begin, end, d_out[buffer]);
    if (threadIdx.x < kTileRows) {
      const int query = begin + static_cast<int>(threadIdx.x);
      const bool valid = query < end;
      const int of = valid ? query : begin;
      float* to = sums + buffer * 2 * kTileRows + threadIdx.x;
      CopyWordAsync(to, b.log_sum_exp.row(kind, of) + head);
      CopyWordAsync(to + kTileRows, b.delta.row(kind, of) + head);
      int* row = query_rows + buffer * kTileRows + threadIdx.x;
      if (valid) {
        CopyWordAsync(row, a.query_rows + query);
      } else {
        *row = -1;
      }
    }
  };
  CopyRows<kHead, kTileRows>(a.k, offset, tile[kTileKeyBegin], tile[kTileKeyEnd], k);
  CopyRows<kHead, kTileRows>(a.v, offset, tile[kTileKeyBegin], tile[kTileKeyEnd], v);
  if (visits > 0) copy(0);
  CommitCopies();

  float d_k[kHead / 8][4] = {}, d_v[kHead / 8][4] = {};
  for (int visit = 0; visit < visits; ++visit) {
    if (visit + 1 < visits) {
      copy(visit + 1);
      CommitCopies();
      WaitCopies<1>();
    } else {
      WaitCopies<0>();
    }
    __syncthreads();
    const int buffer = visit & 1, kind = visit % kinds, other_index = from + visit / kinds;
    const int32_t* other = a.tiles + static_cast<int64_t>(other_index) * kTileFields;
    const bool sees =
        other[kTileQueryBegin] < other[kTileQueryEnd] &&
        (kind == kCausal ? other_index >= index : other[kTileGroupBegin] == tile[kTileGroupBegin]);
    if (sees) {
      float scores[kTileRows / 8][4], d_weight[kTileRows / 8][4];
      MultiplyRows(k, first, q[buffer], lane, scores);
      MultiplyRows(v, first, d_out[buffer], lane, d_weight);
#pragma unroll
      for (int j = 0; j < kTileRows / 8; ++j) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int query = 8 * j + 2 * (lane & 3) + (i & 1);
          const int key = tile[kTileKeyBegin] + first + (lane >> 2) + 8 * (i >> 1);
          const int row = query_rows[buffer * kTileRows + query];
          const float* of_query = sums + buffer * 2 * kTileRows + query;
          const bool seen = row >= 0 && key < tile[kTileKeyEnd] && (kind == kContext || key <= row);
          const float weight = seen ? exp2f(scores[j][i] * scale - of_query[0] * kLog2E) : 0.0f;
          d_weight[j][i] = weight * (d_weight[j][i] - of_query[kTileRows]);
          scores[j][i] = weight;
        }
      }
      uint32_t left[kTileRows / 16][4];
      AsLeft(scores, left);
      AddWeightedRows<kHead>(left, d_out[buffer], lane, d_v);
      AsLeft(d_weight, left);
      AddWeightedRows<kHead>(left, q[buffer], lane, d_k);
    }
    __syncthreads();
  }
  WaitCopies<0>();
#pragma unroll
  for (int j = 0; j < kHead / 8; ++j) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int key = tile[kTileKeyBegin] + first + (lane >> 2) + 8 * h;
      if (key >= tile[kTileKeyEnd]) continue;
      const int at = offset + 8 * j + 2 * (lane & 3);
      Bf16* to_k = b.d_k.row(key) + at;
      Bf16* to_v = b.d_v.row(key) + at;
      float before_k[2] = {}, before_v[2] = {};
      if (whole) {
        Load(to_k, before_k);
        Load(to_v, before_v);
      }
      *reinterpret_cast<uint32_t*>(to_k) = PackPair(before_k[0] + d_k[j][2 * h] * a.scale,
                                                    before_k[1] + d_k[j][2 * h + 1] * a.scale);
      *reinterpret_cast<uint32_t*>(to_v) =
          PackPair(before_v[0] + d_v[j][2 * h], before_v[1] + d_v[j][2 * h + 1]);
    }
  }
}

constexpr int kSumLanes = 128, kSumSlabs = 4;

// Row r of the shared keys: sums its partial rows. A thread takes four columns of [k ; v].
__global__ void __launch_bounds__(kSumLanes* kSumSlabs)
    TileSharedGradientKernel(const int32_t* starts, const int32_t* entries, const float* partial,
                             int64_t width, int prompt_rows, Matrix<Bf16> d_k, Matrix<Bf16> d_v,
                             Matrix<Bf16> d_column_k, Matrix<Bf16> d_column_v) {
  __shared__ float4 slabs[kSumSlabs][kSumLanes];
  const int row = blockIdx.x, lane = threadIdx.x % kSumLanes, slab = threadIdx.x / kSumLanes;
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * kSumLanes + lane) * 4;
  const bool inside = column < 2 * width;
  float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  const int end = starts[row + 1];
#pragma unroll 4
  for (int i = starts[row] + slab; i < end; i += kSumSlabs) {
    if (!inside) break;
    const float4 value =
        *reinterpret_cast<const float4*>(partial + entries[i] * 2 * width + column);
    sum.x += value.x;
    sum.y += value.y;
    sum.z += value.z;
    sum.w += value.w;
  }
  slabs[slab][lane] = sum;
  __syncthreads();
  if (slab != 0 || !inside) return;
  float total[4] = {sum.x, sum.y, sum.z, sum.w};
  for (int s = 1; s < kSumSlabs; ++s) {
    const float4 value = slabs[s][lane];
    total[0] += value.x;
    total[1] += value.y;
    total[2] += value.z;
    total[3] += value.w;
  }
  const bool key = column < width, prompt = row < prompt_rows;
  const Matrix<Bf16>& matrix = prompt ? (key ? d_k : d_v) : (key ? d_column_k : d_column_v);
  Bf16* to = matrix.row(prompt ? row : row - prompt_rows) + (key ? column : column - width);
  if (prompt) {  // the prompt's own queries have been here
    float before[4];
    Load(to, before);
#pragma unroll
    for (int i = 0; i < 4; ++i) total[i] += before[i];
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
  WithHead(width / inputs.heads, [&](auto head) {
    constexpr int kHead = decltype(head)::value;
    LaunchTiles(TileQueryGradientKernel<kHead>, layout.tiles.size(0), inputs.heads,
                QueryBytes<kHead>(), a, b);
    LaunchTiles(TileKeyGradientKernel<kHead>, layout.key_tiles.numel(), inputs.heads,
                KeyBytes<kHead>(), a, b);
  });
  const int64_t columns = gradients.column_k.defined() ? gradients.column_k.size(0) : 0;
  const int64_t shared = layout.prompt_rows + columns;
  if (shared == 0) return;
  const dim3 grid(static_cast<unsigned>(shared),
                  static_cast<unsigned>(CeilDivide(2 * width, 4 * kSumLanes)));
  TileSharedGradientKernel<<<grid, kSumLanes * kSumSlabs, 0, c10::cuda::getCurrentCUDAStream()>>>(
      Indices(layout.shared_starts), Indices(layout.shared_entries), Data<float>(partial), width,
      layout.prompt_rows, b.d_k, b.d_v, MatrixOf<Bf16>(gradients.column_k),
      MatrixOf<Bf16>(gradients.column_v));
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace mixrec::model::cuda
