// A file without a name on any disk, for secrets that only this process and its children may read.
#pragma once

#include <memory>
#include <string>

#include "common/status.h"

namespace mixrec::launch {

class MemoryFile {
 public:
  static absl::StatusOr<std::unique_ptr<MemoryFile>> Make(const std::string& text);
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile();

  // Good in this process, and in children that it starts.
  std::string path() const { return StrCat("/proc/self/fd/", file_); }

 private:
  explicit MemoryFile(int file) : file_(file) {}
  const int file_;
};

}  // namespace mixrec::launch
