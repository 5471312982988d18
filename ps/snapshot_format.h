// Private to ps/: the bytes of a snapshot's row file (docs/table_snapshots.md).
//
//   "MIXREC-T" | version u32 | JSON bytes u32 | JSON, padded to 8 | checksum u64 of all before
//   for each table its blocks: rows u32 | 0 u32 | checksum u64 of the rest | state | counts
//   "MIXREC-E" | bytes of the file u64 | checksum of all before the footer, two u64
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "ps/protocol.h"
#include "ps/shard_map.h"

namespace mixrec::ps {

inline constexpr std::string_view kSnapshotMagic = "MIXREC-T", kSnapshotEnd = "MIXREC-E";
inline constexpr uint32_t kSnapshotVersion = 1;
inline constexpr int64_t kSnapshotPrefix = 16, kBlockHead = 16, kSnapshotFooter = 32;

struct SnapshotHeader {
  int64_t step = 0;
  BucketRange buckets;
  std::vector<TableSpec> tables;
};

// Text of the header, padded; and back, with every number checked. `where` names the file.
std::string HeaderText(const SnapshotHeader& header);
absl::StatusOr<SnapshotHeader> ParseHeader(std::string_view text, const std::string& where);

// Sizes of a table's rows in the file: all a function of its spec and the buckets.
struct SnapshotTable {
  SnapshotTable(const TableSpec& spec, BucketRange buckets);

  RowLayout layout;
  int64_t state_width = 0;  // floats a row: values, then moments
  int64_t row_bytes = 0;    // state and count
  int64_t block_rows = 0;   // of every block but the last
  int64_t bytes() const;
};

uint64_t SnapshotChecksum(std::string_view bytes);

}  // namespace mixrec::ps
