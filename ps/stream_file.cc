#include "ps/stream_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/file.h"
#include "common/log.h"

namespace mixrec::ps {

StreamFile::StreamFile(std::string folder, std::string temporary, int fd)
    : folder_(std::move(folder)),
      temporary_(std::move(temporary)),
      fd_(fd),
      hash_(XXH3_createState()) {
  CHECK(hash_ != nullptr && XXH3_128bits_reset(hash_.get()) == XXH_OK);
}

StreamFile::StreamFile(StreamFile&& other) noexcept
    : folder_(std::move(other.folder_)),
      temporary_(std::move(other.temporary_)),
      fd_(std::exchange(other.fd_, -1)),
      bytes_(other.bytes_),
      hash_(std::move(other.hash_)) {}

StreamFile::~StreamFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

absl::StatusOr<StreamFile> StreamFile::Create(const std::string& folder) {
  std::string name = folder + "/.writing.XXXXXX";
  const int fd = ::mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) return FailureError("cannot create a file in ", folder, ": ", std::strerror(errno));
  ::fchmod(fd, 0644);
  return StreamFile(folder, std::move(name), fd);
}

absl::Status StreamFile::Error(std::string_view what) const {
  const int error = errno;
  const bool full = error == ENOSPC || error == EDQUOT;
  return FailureError(what, " in ", folder_, ": ", std::strerror(error),
                      full ? "; free some space and save again" : "");
}

absl::Status StreamFile::Append(std::string_view bytes) {
  XXH3_128bits_update(hash_.get(), bytes.data(), bytes.size());
  bytes_ += static_cast<int64_t>(bytes.size());
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return Error("cannot write table rows");
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

std::string StreamFile::Hash() const {
  const XXH128_hash_t hash = Digest();
  return absl::StrFormat("%016x%016x", hash.high64, hash.low64);
}

absl::Status StreamFile::Commit(const std::string& name) {
  if (::fsync(fd_) != 0) return Error("cannot write table rows");
  if (::rename(temporary_.c_str(), (folder_ + "/" + name).c_str()) != 0) {
    return Error(StrCat("cannot name ", name));
  }
  ::close(std::exchange(fd_, -1));
  return SyncFolder(folder_);
}

}  // namespace mixrec::ps
