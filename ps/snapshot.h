// Snapshots of tables: a folder with a file a shard and, written last, a manifest (the format is in
// docs/table_snapshots.md). Weights, moments and update counts of a row lie together and are of one
// moment. A snapshot of S shards is read by any number of them, or by a worker with embedded
// tables.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "common/status.h"
#include "ps/protocol.h"
#include "ps/table.h"

namespace mixrec::ps {

inline constexpr char kSnapshotManifest[] = "tables.json";

// The rows of one shard.
struct SnapshotContent {
  int64_t step = 0;
  BucketRange buckets;  // of every table
  std::vector<const Table*> tables;
};

// Writes a file of rows into `folder`, which is made if need be. Its name contains its hash: a file
// that a manifest names is never overwritten by another, even if a request to save is repeated
// later. A full disk is a Failure, and leaves what was there as it was.
absl::StatusOr<Saved> WriteSnapshotFile(const std::string& folder, const SnapshotContent& content);

// Makes the files of all shards a snapshot; files of an older one in the same folder are removed
// then. DataError when one of them is not there.
absl::Status WriteSnapshotManifest(const std::string& folder, int64_t step,
                                   const std::vector<Saved>& files);

// Both at once, of tables that are whole (embedded).
absl::Status WriteSnapshot(const std::string& folder, int64_t step,
                           const std::vector<const Table*>& tables);

// Whether the folder holds a whole snapshot: manifest, sizes, every checksum, all rows of all
// tables. Reads everything. DataError says what is wrong.
absl::Status CheckSnapshot(const std::string& folder);

// What a snapshot says of itself. Checks the manifest and the heads of the files.
struct SnapshotInfo {
  int64_t step = 0;
  std::vector<TableSpec> tables;
};
absl::StatusOr<SnapshotInfo> ReadSnapshotInfo(const std::string& folder);

// Which rows a torn snapshot may lack.
enum class SnapshotTrust {
  kWhole,  // none
  kAny,    // Mutation::kTornSnapshot: takes whatever row files lie in the folder
};

// Fills the local rows of `table` from the table of its name, whatever shards wrote it; block after
// block, each checked before it is used. Name, number of rows, parts and kind of optimiser must
// agree. DataError otherwise, and when something is damaged: the rows are not to be used then.
absl::Status ReadSnapshotTable(const std::string& folder, Table* table,
                               SnapshotTrust trust = SnapshotTrust::kWhole);

// Fills a table from tensors by their names: all of Table::Values(), and all of
// Table::OptimizerState() or none of it (zeros). [rows] is taken for [rows, 1]. Others are ignored.
// DataError when one is missing or of another shape.
absl::Status SetTensors(const NamedTensors& tensors, Table* table);

}  // namespace mixrec::ps
