#include "ps/shard_map.h"

#include <gtest/gtest.h>

#include <vector>

namespace mixrec::ps {
namespace {

const std::vector<Partition> kPartitions = {Partition::kHashed, Partition::kRanges};

TEST(EvenBuckets, CoverEveryBucketOnceAndDifferByOneAtMost) {
  for (const int64_t shards : {1, 2, 3, 7, 100}) {
    int64_t next = 0;
    for (int64_t shard = 0; shard < shards; ++shard) {
      const BucketRange range = EvenBuckets(shard, shards);
      EXPECT_EQ(range.first, next);
      EXPECT_LE(range.last - range.first, kBuckets / shards + 1);
      EXPECT_GE(range.last - range.first, kBuckets / shards);
      next = range.last;
    }
    EXPECT_EQ(next, kBuckets);
  }
}

TEST(RowLayout, EveryRowIsInExactlyTheShardOfItsBucket) {
  for (const Partition partition : kPartitions) {
    for (const int64_t rows : {0, 1, 5, 4095, 4096, 4097, 10000}) {
      const std::vector<BucketRange> shards = {{0, 0}, {0, 1}, {1, 1300}, {1300, 4096}};
      int64_t total = 0;
      std::vector<int> owners(static_cast<size_t>(rows), 0);
      for (const BucketRange& buckets : shards) {
        const RowLayout layout(partition, rows, buckets);
        total += layout.local_rows();
        for (int64_t row = 0; row < rows; ++row) {
          const int64_t local = layout.LocalOf(row);
          const int64_t bucket = BucketOf(partition, rows, row);
          EXPECT_EQ(local >= 0, bucket >= buckets.first && bucket < buckets.last);
          if (local < 0) continue;
          ++owners[static_cast<size_t>(row)];
          EXPECT_LT(local, layout.local_rows());
          EXPECT_EQ(layout.RowOf(local), row);
        }
      }
      EXPECT_EQ(total, rows);
      for (const int count : owners) EXPECT_EQ(count, 1);
    }
  }
}

TEST(RowLayout, WithAllBucketsALocalRowIsTheRow) {
  for (const Partition partition : kPartitions) {
    const RowLayout layout(partition, 9000, {0, kBuckets});
    for (const int64_t row : {0, 1, 4095, 4096, 8999}) EXPECT_EQ(layout.LocalOf(row), row);
  }
}

TEST(RowLayout, RangesAreContiguousAndLocalRowsAscendWithRows) {
  const RowLayout ranges(Partition::kRanges, 10000, {100, 2000});
  for (int64_t local = 0; local < ranges.local_rows(); ++local) {
    EXPECT_EQ(ranges.RowOf(local), ranges.first_row() + local);
  }
  const RowLayout hashed(Partition::kHashed, 10000, {100, 2000});
  for (int64_t local = 1; local < hashed.local_rows(); ++local) {
    EXPECT_LT(hashed.RowOf(local - 1), hashed.RowOf(local));
  }
}

}  // namespace
}  // namespace mixrec::ps
