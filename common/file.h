// Files: whole reads, memory maps, atomic writes, content hashes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace mixrec {

// The whole file. NotFound when it does not exist, DataLoss when it cannot be read.
absl::StatusOr<std::string> ReadFile(const std::string& path);

// Writes `content` to `path` so that a reader, or a crash at any moment, sees either the old file
// or the whole new one: temporary file beside it, fsync, rename, fsync of the folder. A full disk
// leaves the old file as it was and names the path.
absl::Status WriteFileAtomic(const std::string& path, std::string_view content);

// Makes a folder and its parents.
absl::Status MakeFolder(const std::string& path);

// fsync of a folder, after a rename in it.
absl::Status SyncFolder(const std::string& path);

// True when a file or folder is there.
bool PathExists(const std::string& path);

// Hash of the content, 32 hexadecimal digits (XXH3, 128 bits): tells files apart, keeps nobody out.
std::string ContentHash(std::string_view content);
absl::StatusOr<std::string> FileHash(const std::string& path);

// A read-only memory map of a whole file. Move-only; unmaps when destroyed.
class MappedFile {
 public:
  static absl::StatusOr<MappedFile> Open(const std::string& path);
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::string_view bytes() const { return {data_, size_}; }

 private:
  const char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace mixrec
