// A file of blocks that is written over hours and survives being killed: every block has its length
// and hash, a stopped writer goes on after the last whole block, and a reader takes nothing but a
// finished, undamaged file (docs/hard_samples.md gives the bytes).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/file.h"
#include "common/status.h"

namespace mixrec::data {

// What a file is: eight characters that tell its kind, and a header of the caller's (JSON) that
// says what it was made from.
struct BlockFileIdentity {
  std::string kind;  // 8 characters
  std::string header;
};

// Writes PATH.part and renames it to PATH at the end. One thread.
class BlockFileWriter {
 public:
  // Goes on with PATH.part when that belongs to the same identity; what is there otherwise, and a
  // half-written last block, is dropped. FailureError while another process writes it.
  static absl::StatusOr<BlockFileWriter> Open(const std::string& path,
                                              const BlockFileIdentity& identity);
  BlockFileWriter(BlockFileWriter&& other) noexcept;
  BlockFileWriter& operator=(BlockFileWriter&& other) noexcept;
  BlockFileWriter(const BlockFileWriter&) = delete;
  BlockFileWriter& operator=(const BlockFileWriter&) = delete;
  ~BlockFileWriter();

  // Blocks that are in the file.
  int64_t blocks() const { return blocks_; }
  // One block more; it is on the disk when this returns.
  absl::Status Append(std::string_view payload);
  // Marks the end and gives the file its name.
  absl::Status Finish();

 private:
  BlockFileWriter(std::string path, int file) : path_(std::move(path)), file_(file) {}
  absl::Status WriteRecord(std::string_view kind, std::string_view payload);

  std::string path_;
  int file_ = -1;
  int64_t blocks_ = 0;
};

// A finished file, mapped. Every hash has been checked. Any thread.
class BlockFile {
 public:
  // DataError naming the file and what is wrong with it: another kind, truncated, damaged.
  static absl::StatusOr<BlockFile> Open(const std::string& path, const std::string& kind);

  const std::string& header() const { return header_; }
  int64_t blocks() const { return static_cast<int64_t>(payloads_.size()); }
  std::string_view block(int64_t index) const { return payloads_[static_cast<size_t>(index)]; }

 private:
  MappedFile file_;
  std::string header_;
  std::vector<std::string_view> payloads_;
};

}  // namespace mixrec::data
