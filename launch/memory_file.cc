#include "launch/memory_file.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace mixrec::launch {

absl::StatusOr<std::unique_ptr<MemoryFile>> MemoryFile::Make(const std::string& text) {
  const int number = ::memfd_create("mixrec", 0);  // without CLOEXEC: children inherit it
  if (number < 0) return FailureError("cannot keep a key in memory: ", std::strerror(errno));
  std::unique_ptr<MemoryFile> file(new MemoryFile(number));
  const ssize_t written = ::write(number, text.data(), text.size());
  if (written == static_cast<ssize_t>(text.size()) && ::fchmod(number, 0600) == 0) return file;
  return FailureError("cannot keep a key in memory: ", std::strerror(errno));
}

MemoryFile::~MemoryFile() { ::close(file_); }

}  // namespace mixrec::launch
