// Exact nearest neighbours by L2 distance (paper Appendix A), in blocks: a product of a block of
// queries with a block of items, and the best k of each row so far.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace mixrec::mining {

enum class NeighbourMethod {
  kAuto,  // kScan on the CPU, kTopK on a GPU
  kScan,  // our loop over the scores: CPU only, ties go to the smaller index
  kTopK,  // LibTorch's top-k of every block: any device, ties fall anyhow
};

struct NeighbourOptions {
  int64_t item_block = 16384;  // items that a block of queries meets at a time
  at::Device device = at::kCPU;
  NeighbourMethod method = NeighbourMethod::kAuto;
};

// Distances are compared as |y|^2 - 2 x'y in fp32, so two that differ by less than some 1e-6 of the
// vectors' squares may change places.
class NeighbourSearch {
 public:
  // Keeps `vectors` [I, D] fp32, I >= 2, contiguous, on the CPU; on a GPU a copy of them.
  NeighbourSearch(const at::Tensor& vectors, const NeighbourOptions& options);

  // For each of the items [first, first + count): the `k` (at most I - 1) nearest others, nearest
  // first, never the item itself: [count, k] int32 on the CPU. Memory: count * (item_block + 4 k) *
  // 4 bytes.
  at::Tensor Nearest(int64_t first, int64_t count, int64_t k) const;

 private:
  at::Tensor NearestByScan(int64_t first, int64_t count, int64_t k) const;
  at::Tensor NearestByTopK(int64_t first, int64_t count, int64_t k) const;
  // |y|^2 - 2 x'y of queries and items [item, item + items): [count, items].
  at::Tensor Scores(int64_t first, int64_t count, int64_t item, int64_t items) const;

  NeighbourOptions options_;
  at::Tensor vectors_;  // [I, D]
  at::Tensor squares_;  // [I]
};

}  // namespace mixrec::mining
