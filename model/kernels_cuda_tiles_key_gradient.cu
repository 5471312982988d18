// Backward attention by tiles, second pass: a tile's keys gather what the queries of other tiles
// give them.
#include "model/kernels_cuda_tiles_backward.cuh"

namespace mixrec::model::cuda {
namespace {

template <int kHead>
constexpr size_t KeyBytes() {
  return sizeof(Bf16) * SharedTile<kHead>::kPitch * 6 * kTileRows + 2 * 12 * kTileRows;
}

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

}  // namespace

void TileKeyGradient(int64_t key_tiles, const TileArguments& a, const TileBackwardArguments& b) {
  WithHead(b.width / a.heads, [&](auto head) {
    constexpr int kHead = decltype(head)::value;
    LaunchTiles(TileKeyGradientKernel<kHead>, key_tiles, a.heads, KeyBytes<kHead>(), a, b);
  });
}

}  // namespace mixrec::model::cuda
