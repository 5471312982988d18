#include "data/block_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <type_traits>
#include <utility>

#include "common/log.h"

namespace mixrec::data {
namespace {

constexpr size_t kKindLength = 8;
constexpr size_t kHashDigits = 32;
constexpr size_t kAlignment = 8;
constexpr std::string_view kHead = "HEAD", kBlock = "BLCK", kDone = "DONE";

struct Record {
  char kind[4] = {};
  uint32_t reserved = 0;
  uint64_t bytes = 0;  // of the payload, which follows, filled up with zeros to 8 bytes
  char hash[kHashDigits] = {};
};
static_assert(std::is_trivially_copyable_v<Record> && sizeof(Record) == 48);

size_t Padding(size_t bytes) { return (kAlignment - bytes % kAlignment) % kAlignment; }

// Takes the record of this kind from the head of `bytes`; nothing when it is not whole.
std::optional<std::string_view> TakeRecord(std::string_view kind, std::string_view* bytes) {
  Record record;
  if (bytes->size() < sizeof(record)) return std::nullopt;
  std::memcpy(&record, bytes->data(), sizeof(record));
  const size_t left = bytes->size() - sizeof(record);
  if (std::string_view(record.kind, sizeof(record.kind)) != kind || record.reserved != 0 ||
      record.bytes > left || Padding(record.bytes) > left - record.bytes) {
    return std::nullopt;
  }
  const std::string_view payload = bytes->substr(sizeof(record), record.bytes);
  const std::string_view padding =
      bytes->substr(sizeof(record) + record.bytes, Padding(record.bytes));
  if (ContentHash(payload) != std::string_view(record.hash, kHashDigits) ||
      padding.find_first_not_of('\0') != std::string_view::npos) {
    return std::nullopt;
  }
  bytes->remove_prefix(sizeof(record) + payload.size() + padding.size());
  return payload;
}

struct WholePart {
  size_t bytes = 0;
  int64_t blocks = 0;
};

// What of a part file can be kept.
WholePart WholeBlocks(std::string_view bytes, const BlockFileIdentity& identity) {
  const size_t size = bytes.size();
  if (bytes.substr(0, kKindLength) != identity.kind) return {};
  bytes.remove_prefix(kKindLength);
  if (TakeRecord(kHead, &bytes) != std::string_view(identity.header)) return {};
  WholePart whole{size - bytes.size(), 0};
  while (TakeRecord(kBlock, &bytes)) whole = {size - bytes.size(), whole.blocks + 1};
  return whole;
}

std::string PartPath(const std::string& path) { return path + ".part"; }

absl::Status WriteFailure(const std::string& path) {
  return FailureError("cannot write ", path, ": ", std::strerror(errno),
                      "; the same command goes on where it stopped");
}

absl::Status WriteAll(int file, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return WriteFailure(path);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

}  // namespace

BlockFileWriter::BlockFileWriter(BlockFileWriter&& other) noexcept
    : path_(std::move(other.path_)),
      file_(std::exchange(other.file_, -1)),
      blocks_(other.blocks_) {}

BlockFileWriter& BlockFileWriter::operator=(BlockFileWriter&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(file_, other.file_);
  std::swap(blocks_, other.blocks_);
  return *this;
}

BlockFileWriter::~BlockFileWriter() {
  if (file_ >= 0) ::close(file_);
}

absl::StatusOr<BlockFileWriter> BlockFileWriter::Open(const std::string& path,
                                                      const BlockFileIdentity& identity) {
  CHECK_EQ(identity.kind.size(), kKindLength);
  const std::string part = PartPath(path);
  BlockFileWriter writer(path, ::open(part.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
  if (writer.file_ < 0) return WriteFailure(part);
  if (::flock(writer.file_, LOCK_EX | LOCK_NB) != 0) {
    return FailureError(part, " is in use by another process; wait for it, or stop it");
  }
  WholePart whole;
  {
    MIXREC_ASSIGN_OR_RETURN(const MappedFile old, MappedFile::Open(part));
    whole = WholeBlocks(old.bytes(), identity);
  }
  if (::ftruncate(writer.file_, static_cast<off_t>(whole.bytes)) != 0 ||
      ::lseek(writer.file_, 0, SEEK_END) < 0) {
    return WriteFailure(part);
  }
  writer.blocks_ = whole.blocks;
  if (whole.bytes == 0) {
    MIXREC_RETURN_IF_ERROR(WriteAll(writer.file_, identity.kind, part));
    MIXREC_RETURN_IF_ERROR(writer.WriteRecord(kHead, identity.header));
  }
  return writer;
}

absl::Status BlockFileWriter::WriteRecord(std::string_view kind, std::string_view payload) {
  Record record;
  std::memcpy(record.kind, kind.data(), sizeof(record.kind));
  record.bytes = payload.size();
  std::memcpy(record.hash, ContentHash(payload).data(), kHashDigits);
  const std::string part = PartPath(path_);
  const std::string_view head(reinterpret_cast<const char*>(&record), sizeof(record));
  MIXREC_RETURN_IF_ERROR(WriteAll(file_, head, part));
  MIXREC_RETURN_IF_ERROR(WriteAll(file_, payload, part));
  MIXREC_RETURN_IF_ERROR(WriteAll(file_, std::string(Padding(payload.size()), '\0'), part));
  return ::fdatasync(file_) == 0 ? absl::OkStatus() : WriteFailure(part);
}

absl::Status BlockFileWriter::Append(std::string_view payload) {
  MIXREC_RETURN_IF_ERROR(WriteRecord(kBlock, payload));
  ++blocks_;
  return absl::OkStatus();
}

absl::Status BlockFileWriter::Finish() {
  MIXREC_RETURN_IF_ERROR(WriteRecord(kDone, StrCat(blocks_)));
  if (::rename(PartPath(path_).c_str(), path_.c_str()) != 0) return WriteFailure(path_);
  const std::string folder = std::filesystem::path(path_).parent_path().string();
  return SyncFolder(folder.empty() ? "." : folder);
}

absl::StatusOr<BlockFile> BlockFile::Open(const std::string& path, const std::string& kind) {
  BlockFile result;
  MIXREC_ASSIGN_OR_RETURN(result.file_, MappedFile::Open(path));
  std::string_view bytes = result.file_.bytes();
  const auto damaged = [&](std::string_view what) {
    return DataError(path, ": ", what, " at byte ", result.file_.bytes().size() - bytes.size(),
                     "; make the file again");
  };
  if (bytes.substr(0, kKindLength) != kind) {
    return DataError(path, ": not a file of the kind ", kind);
  }
  bytes.remove_prefix(kKindLength);
  const auto header = TakeRecord(kHead, &bytes);
  if (!header) return damaged("no whole header");
  result.header_ = std::string(*header);
  while (const auto payload = TakeRecord(kBlock, &bytes)) result.payloads_.push_back(*payload);
  if (TakeRecord(kDone, &bytes) != std::string_view(StrCat(result.blocks()))) {
    return damaged("truncated or damaged");
  }
  if (!bytes.empty()) return damaged("something follows the end");
  return result;
}

}  // namespace mixrec::data
