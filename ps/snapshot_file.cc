#include "ps/snapshot_file.h"

#include <xxhash.h>

#include <cstring>

namespace mixrec::ps {
namespace {

template <typename T>
T Read(std::string_view bytes, int64_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

std::string_view Cut(std::string_view bytes, int64_t offset, int64_t size) {
  return bytes.substr(static_cast<size_t>(offset), static_cast<size_t>(size));
}

}  // namespace

absl::StatusOr<SnapshotFile> SnapshotFile::Open(std::string_view bytes, const std::string& where) {
  const auto size = static_cast<int64_t>(bytes.size());
  if (size < kSnapshotPrefix || Cut(bytes, 0, 8) != kSnapshotMagic) {
    return DataError(where, " is no file of table rows, or cut off");
  }
  const auto version = Read<uint32_t>(bytes, 8);
  if (version != kSnapshotVersion) {
    return DataError(where, " has format version ", version, "; this program reads ",
                     kSnapshotVersion);
  }
  const int64_t text = Read<uint32_t>(bytes, 12);
  const int64_t rows_at = kSnapshotPrefix + text + 8;
  if (text % 8 != 0 || rows_at > size) return DataError(where, " is cut off in its header");
  if (Read<uint64_t>(bytes, rows_at - 8) != SnapshotChecksum(Cut(bytes, 0, rows_at - 8))) {
    return DataError(where, ": the header is damaged (its checksum differs)");
  }
  SnapshotFile file;
  file.where_ = where;
  file.bytes_ = bytes;
  MIXREC_ASSIGN_OR_RETURN(file.header_, ParseHeader(Cut(bytes, kSnapshotPrefix, text), where));
  int64_t offset = rows_at;
  for (const TableSpec& spec : file.header_.tables) {
    file.offsets_.push_back(offset);
    offset += file.tables_.emplace_back(spec, file.header_.buckets).bytes();
    if (offset > size) break;  // before the sum of many promises overflows
  }
  if (offset + kSnapshotFooter != size) {
    return DataError(where, " has ", size, " bytes; its header promises ", offset + kSnapshotFooter,
                     ": it is cut off, or has something behind its end");
  }
  if (Cut(bytes, offset, 8) != kSnapshotEnd ||
      Read<uint64_t>(bytes, offset + 8) != static_cast<uint64_t>(size)) {
    return DataError(where, ": the footer is damaged");
  }
  return file;
}

absl::Status SnapshotFile::CheckRows() const {
  for (size_t table = 0; table < tables_.size(); ++table) {
    MIXREC_RETURN_IF_ERROR(ForBlocks(table, [](const SnapshotBlock&) { return absl::OkStatus(); }));
  }
  const auto footer = static_cast<int64_t>(bytes_.size()) - kSnapshotFooter;
  const XXH128_hash_t hash = XXH3_128bits(bytes_.data(), static_cast<size_t>(footer));
  if (Read<uint64_t>(bytes_, footer + 16) != hash.high64 ||
      Read<uint64_t>(bytes_, footer + 24) != hash.low64) {
    return DataError(where_, " is damaged (the checksum of the file differs)");
  }
  return absl::OkStatus();
}

absl::Status SnapshotFile::ForBlocks(
    size_t table, const std::function<absl::Status(const SnapshotBlock&)>& visit) const {
  const SnapshotTable& sizes = tables_.at(table);
  int64_t offset = offsets_[table];
  for (int64_t first = 0; first < sizes.layout.local_rows(); first += sizes.block_rows) {
    SnapshotBlock block;
    block.first = first;
    block.rows = std::min(sizes.block_rows, sizes.layout.local_rows() - first);
    const std::string_view rows = Cut(bytes_, offset + kBlockHead, block.rows * sizes.row_bytes);
    if (Read<uint32_t>(bytes_, offset) != block.rows || Read<uint32_t>(bytes_, offset + 4) != 0 ||
        Read<uint64_t>(bytes_, offset + 8) != SnapshotChecksum(rows)) {
      return DataError(where_, ": rows of table ", header_.tables[table].name, " at byte ", offset,
                       " are damaged (their checksum differs)");
    }
    block.state = reinterpret_cast<const float*>(rows.data());
    block.counts = reinterpret_cast<const int32_t*>(rows.data() + block.rows * sizes.state_width *
                                                                      int64_t{sizeof(float)});
    MIXREC_RETURN_IF_ERROR(visit(block));
    offset += kBlockHead + block.rows * sizes.row_bytes;
  }
  return absl::OkStatus();
}

}  // namespace mixrec::ps
