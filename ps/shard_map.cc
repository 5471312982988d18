#include "ps/shard_map.h"

#include <algorithm>

#include "common/log.h"

namespace mixrec::ps {
namespace {

// First row of a bucket in a kRanges table: the smallest r with floor(r * kBuckets / rows) >=
// bucket.
int64_t FirstRowOfBucket(int64_t rows, int64_t bucket) {
  return (bucket * rows + kBuckets - 1) / kBuckets;
}

}  // namespace

BucketRange EvenBuckets(int64_t shard, int64_t shards) {
  CHECK(shard >= 0 && shard < shards);
  return {shard * kBuckets / shards, (shard + 1) * kBuckets / shards};
}

int64_t BucketOf(Partition partition, int64_t rows, int64_t row) {
  return partition == Partition::kHashed ? row % kBuckets : row * kBuckets / rows;
}

RowLayout::RowLayout(Partition partition, int64_t rows, BucketRange buckets)
    : partition_(partition), rows_(rows), buckets_(buckets) {
  CHECK(rows >= 0 && 0 <= buckets.first && buckets.first <= buckets.last &&
        buckets.last <= kBuckets);
  if (partition == Partition::kRanges) {
    first_row_ = FirstRowOfBucket(rows, buckets.first);
    local_rows_ = FirstRowOfBucket(rows, buckets.last) - first_row_;
    return;
  }
  const int64_t width = buckets.last - buckets.first;
  const int64_t tail = rows % kBuckets;  // rows of the last, incomplete round
  local_rows_ = rows / kBuckets * width + std::clamp<int64_t>(tail - buckets.first, 0, width);
}

int64_t RowLayout::LocalOf(int64_t row) const {
  if (partition_ == Partition::kRanges) {
    const int64_t local = row - first_row_;
    return local >= 0 && local < local_rows_ ? local : -1;
  }
  const int64_t bucket = row % kBuckets;
  if (bucket < buckets_.first || bucket >= buckets_.last) return -1;
  return row / kBuckets * (buckets_.last - buckets_.first) + bucket - buckets_.first;
}

int64_t RowLayout::RowOf(int64_t local) const {
  if (partition_ == Partition::kRanges) return first_row_ + local;
  const int64_t width = buckets_.last - buckets_.first;
  return local / width * kBuckets + buckets_.first + local % width;
}

}  // namespace mixrec::ps
