// Private to ps/: a row file of a snapshot, read.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "ps/snapshot_format.h"

namespace mixrec::ps {

// Rows of a block that was checked: local rows of the file's layout from `first`.
struct SnapshotBlock {
  int64_t first = 0, rows = 0;
  const float* state = nullptr;     // [rows, state_width]
  const int32_t* counts = nullptr;  // [rows]
};

// A view of a file's bytes, which must be 8-byte aligned and outlive it.
class SnapshotFile {
 public:
  // Checks header, sizes and footer, not the rows. `where` names the file in messages.
  static absl::StatusOr<SnapshotFile> Open(std::string_view bytes, const std::string& where);

  const SnapshotHeader& header() const { return header_; }
  // Every checksum.
  absl::Status CheckRows() const;
  // Visits the blocks of the table number `table`, each checked before. `visit` returns a Status,
  // too.
  absl::Status ForBlocks(size_t table,
                         const std::function<absl::Status(const SnapshotBlock&)>& visit) const;

 private:
  std::string where_;
  std::string_view bytes_;
  SnapshotHeader header_;
  std::vector<SnapshotTable> tables_;
  std::vector<int64_t> offsets_;  // of each table's first block
};

}  // namespace mixrec::ps
