// Forward attention by tiles: both attentions of a query in one pass over its keys. The scores with
// the rows of its own item serve both.
#include "model/kernels_cuda_tiles.cuh"

namespace mixrec::model::cuda {
namespace {

// One attention of a warp's 16 queries under way; a thread holds two of the queries.
template <int kHead>
struct RunningMean {
  float largest[2] = {kUnseen, kUnseen};  // in units of log2
  float sum[2] = {};                      // of this thread's weights only
  float mean[kHead / 8][4] = {};

  // Takes scores in, rescales, and gives the weights as left operands. `counts(bit)`: whether the
  // score [bit / 4][bit % 4] is one of those.
  template <int kTiles, typename Counts>
  __device__ __forceinline__ void Take(const float (&scores)[kTiles][4], const Counts& counts,
                                       float scale, uint32_t (&weights)[kTiles / 2][4]) {
    float next[2] = {largest[0], largest[1]};
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (counts(4 * j + i)) next[i >> 1] = fmaxf(next[i >> 1], scores[j][i] * scale);
      }
    }
    float correction[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      next[h] = fmaxf(next[h], __shfl_xor_sync(kAllLanes, next[h], 1));
      next[h] = fmaxf(next[h], __shfl_xor_sync(kAllLanes, next[h], 2));
      correction[h] = exp2f(largest[h] - next[h]);
      largest[h] = next[h];
      sum[h] *= correction[h];
    }
#pragma unroll
    for (int j = 0; j < kHead / 8; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) mean[j][i] *= correction[i >> 1];
    }
    float weight[kTiles][4];
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        weight[j][i] = counts(4 * j + i) ? exp2f(scores[j][i] * scale - largest[i >> 1]) : 0.0f;
        sum[i >> 1] += weight[j][i];
      }
    }
    AsLeft(weight, weights);
  }

  // The means to rows [row, row + 16) of `staged`; returns log-sum-exps of the thread's queries.
  __device__ __forceinline__ void Finish(int row, int lane, const SharedTile<kHead>& staged,
                                         float (&log_sum_exp)[2]) {
    float inverse[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      sum[h] += __shfl_xor_sync(kAllLanes, sum[h], 1);
      sum[h] += __shfl_xor_sync(kAllLanes, sum[h], 2);
      inverse[h] = sum[h] > 0.0f ? 1.0f / sum[h] : 0.0f;
      log_sum_exp[h] = largest[h] / kLog2E + logf(sum[h]);
    }
#pragma unroll
    for (int j = 0; j < kHead / 8; ++j) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        *reinterpret_cast<uint32_t*>(staged.at(row + (lane >> 2) + 8 * h, 8 * j + 2 * (lane & 3))) =
            PackPair(mean[j][2 * h] * inverse[h], mean[j][2 * h + 1] * inverse[h]);
      }
    }
  }
};

template <int kHead>
constexpr size_t ForwardBytes() {
  return sizeof(Bf16) * SharedTile<kHead>::kPitch * 5 * kTileRows;
}

// Blocks of a multiprocessor: with eight, sixteen warps hide each other's waiting, at the price of
// a few registers spilt.
template <int kHead>
constexpr int kForwardBlocks = kHead <= 64 ? 8 : 1;

template <int kHead>
__global__ void __launch_bounds__(kTileThreads, kForwardBlocks<kHead>)
    TileForwardKernel(TileArguments a, KindRows<Bf16> out, KindRows<float> log_sum_exp) {
  extern __shared__ __align__(16) Bf16 room[];
  constexpr int kRow = SharedTile<kHead>::kPitch;
  const auto part = [&](int index) { return SharedTile<kHead>{room + index * kTileRows * kRow}; };
  const SharedTile<kHead> q = part(0);
  const auto k = [&](int chunk) { return part(1 + (chunk & 1)); };
  const auto v = [&](int chunk) { return part(3 + (chunk & 1)); };
  // Where the second chunk will be copied to when these have served.
  const SharedTile<kHead> shared_k = k(1), shared_v = v(1);
  const Tile tile(a.tiles + static_cast<int64_t>(blockIdx.x / a.heads) * kTileFields);
  if (tile.queries() == 0) return;
  const TileKeys keys(a, tile);
  const int head = blockIdx.x % a.heads, offset = head * kHead;
  const int lane = threadIdx.x % kWarp, first = threadIdx.x / kWarp * 16;
  const float scale = a.scale * kLog2E;

  const auto copy_chunk = [&](int chunk) {
    const int begin = keys.Begin(tile, chunk), end = keys.End(tile, chunk);
    CopyRows<kHead, kTileRows>(a.k, offset, begin, end, k(chunk));
    CopyRows<kHead, kTileRows>(a.v, offset, begin, end, v(chunk));
  };
  CopyRows<kHead, kTileRows>(a.q, offset, tile[kTileQueryBegin], tile[kTileQueryEnd], q);
  copy_chunk(0);

  bool valid[2];
  int rows[2];
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int query = first + (lane >> 2) + 8 * h;
    valid[h] = query < tile.queries();
    rows[h] = valid[h] ? a.query_rows[tile[kTileQueryBegin] + query] : -1;
  }
  RunningMean<kHead> causal, context;
  // Scores to the mean of one kind of attention.
  const auto add = [&](RunningMean<kHead>& mean, const auto& scores, const auto& counts,
                       const SharedTile<kHead>& values) {
    constexpr int kTiles = sizeof(scores) / sizeof(scores[0]);
    uint32_t weights[kTiles / 2][4];
    mean.Take(scores, counts, scale, weights);
    AddWeightedRows<kHead>(weights, values, lane, mean.mean);
  };
  const auto add_seen = [&](RunningMean<kHead>& mean, const auto& scores, uint32_t seen,
                            const SharedTile<kHead>& values) {
    if (!__any_sync(kAllLanes, seen != 0)) return;
    add(
        mean, scores, [seen](int bit) { return (seen >> bit & 1) != 0; }, values);
  };
  const auto take = [&](const auto& scores, const Seen& seen, const SharedTile<kHead>& values) {
    add_seen(causal, scores, seen.causal, values);
    add_seen(context, scores, seen.context, values);
  };
  for (int base = 0; base < keys.shared; base += kSharedRows) {
    CopyShared(a, keys, base, offset, shared_k, shared_v);
    CommitCopies();
    WaitCopies<0>();
    __syncthreads();
    float scores[kSharedRows / 8][4];
    MultiplyRows(q, first, shared_k, lane, scores);
    take(scores, SeenShared<kSharedRows / 8>(keys, base, lane, valid), shared_v);
    __syncthreads();
  }
  CommitCopies();
  for (int chunk = 0; chunk < keys.chunks; ++chunk) {
    if (chunk + 1 < keys.chunks) {
      copy_chunk(chunk + 1);
      CommitCopies();
      WaitCopies<1>();
    } else {
      WaitCopies<0>();
    }
    __syncthreads();
    const int begin = keys.Begin(tile, chunk), end = keys.End(tile, chunk);
    const SharedTile<kHead> values = v(chunk);
    float scores[kTileRows / 8][4];
    MultiplyRows(q, first, k(chunk), lane, scores);
    if (chunk < keys.own_chunks || end - begin < kTileRows) {
      take(scores,
           SeenRows<kTileRows / 8>(a, chunk < keys.own_chunks, begin, end, lane, valid, rows),
           values);
    } else {  // earlier rows, of which every query sees all
      add(
          causal, scores, [](int) { return true; }, values);
    }
    __syncthreads();
  }

  // A warp's queries in q have served, so its results are collected there.
  const auto store = [&](int kind, RunningMean<kHead>& mean) {
    float sums[2];
    __syncwarp();
    mean.Finish(first, lane, q, sums);
    __syncwarp();
    for (int i = lane; i < 16 * (kHead / 8); i += kWarp) {
      const int row = first + i / (kHead / 8), column = i % (kHead / 8) * 8;
      if (row >= tile.queries()) continue;
      *reinterpret_cast<int4*>(out.row(kind, tile[kTileQueryBegin] + row) + offset + column) =
          *reinterpret_cast<const int4*>(q.at(row, column));
    }
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      if (valid[h] && (lane & 3) == 0) {
        log_sum_exp.row(kind, tile[kTileQueryBegin] + first + (lane >> 2) + 8 * h)[head] = sums[h];
      }
    }
  };
  store(kCausal, causal);
  if (a.context) store(kContext, context);
}

}  // namespace

void TileAttentionForward(const AttentionInputs& inputs, const AttentionLayout& layout,
                          const at::Tensor& out, const at::Tensor& log_sum_exp) {
  WithHead(inputs.q.size(1) / inputs.heads, [&](auto head) {
    constexpr int kHead = decltype(head)::value;
    LaunchTiles(TileForwardKernel<kHead>, layout.tiles.size(0), inputs.heads, ForwardBytes<kHead>(),
                TileArgumentsOf(inputs, layout), KindRowsOf<Bf16>(out),
                KindRowsOf<float>(log_sum_exp));
  });
}

}  // namespace mixrec::model::cuda
