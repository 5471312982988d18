// Who holds which rows: buckets of rows in shards, and each shard's replicas, numbered by epochs.
//
// Buckets are the same for every number of shards, so rows can be redistributed. A shard owns a
// contiguous range of buckets. A table is spread in one of two ways:
//   kHashed  row r is in bucket r mod kBuckets: neighbours, and popular rows, are spread evenly;
//   kRanges  row r is in bucket floor(r * kBuckets / rows): a shard holds contiguous rows, as the
//            vocabulary-parallel softmax wants them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mixrec::ps {

inline constexpr int64_t kBuckets = 4096;

enum class Partition : uint8_t { kHashed = 0, kRanges = 1 };

// The buckets [first, last) of one shard.
struct BucketRange {
  int64_t first = 0, last = kBuckets;
  bool operator==(const BucketRange& other) const {
    return first == other.first && last == other.last;
  }
};

// Shard s of S gets its even share of the buckets.
BucketRange EvenBuckets(int64_t shard, int64_t shards);

// Which of a table's rows are in a range of buckets, and where they lie there. Local rows are in
// ascending order of their ids within a bucket round, so that contiguous ids stay contiguous.
class RowLayout {
 public:
  RowLayout() = default;
  RowLayout(Partition partition, int64_t rows, BucketRange buckets);

  int64_t local_rows() const { return local_rows_; }
  // -1 for a row that is elsewhere; `row` must be in [0, rows).
  int64_t LocalOf(int64_t row) const;
  int64_t RowOf(int64_t local) const;
  int64_t rows() const { return rows_; }
  // First row of a kRanges layout; its rows are [first_row, first_row + local_rows).
  int64_t first_row() const { return first_row_; }

 private:
  Partition partition_ = Partition::kHashed;
  int64_t rows_ = 0;
  BucketRange buckets_;
  int64_t local_rows_ = 0, first_row_ = 0;
};

int64_t BucketOf(Partition partition, int64_t rows, int64_t row);

// One process's copy of a shard.
struct Replica {
  std::string endpoint;      // empty: there is none
  uint64_t incarnation = 0;  // of its process: another one at the same endpoint knows nothing
  bool operator==(const Replica& other) const {
    return endpoint == other.endpoint && incarnation == other.incarnation;
  }
};

struct ShardSlot {
  uint64_t epoch = 0;  // grows whenever this slot's replicas change
  // The epoch in which its rows began, empty: a replica with rows of another lineage has nothing.
  uint64_t lineage = 0;
  BucketRange buckets;
  Replica primary;  // empty: lost
  Replica backup;   // has every acknowledged update
  Replica learner;  // is being given the state, becomes the backup
};

struct ShardMap {
  uint64_t version = 0;  // grows whenever anything changes
  std::vector<ShardSlot> slots;
};

}  // namespace mixrec::ps
