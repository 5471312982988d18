#include "scheduler/journal_storage.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/file.h"

namespace mixrec::scheduler {
namespace {

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

absl::Status SystemError(const char* what, const std::string& path) {
  return FailureError(path, ": ", what, " failed: ", ::strerror(errno));
}

class JournalFile : public JournalStorage {
 public:
  JournalFile(std::string path, int file) : path_(std::move(path)), file_(file) {}
  ~JournalFile() override { ::close(file_); }  // releases the lock

  absl::StatusOr<std::string> Read() override { return ReadFile(path_); }

  absl::Status Append(std::string_view bytes) override {
    const off_t before = ::lseek(file_, 0, SEEK_END);
    const ssize_t written = ::write(file_, bytes.data(), bytes.size());
    if (written == static_cast<ssize_t>(bytes.size())) return absl::OkStatus();
    const absl::Status status = SystemError("appending a record", path_);
    // A part of a record would spoil the next one. If this fails too, the next Open cuts it off.
    if (before >= 0 && ::ftruncate(file_, before) != 0) return status;
    return status;
  }

  absl::Status Sync() override {
    return ::fsync(file_) == 0 ? absl::OkStatus() : SystemError("fsync", path_);
  }

  absl::Status Truncate(size_t size) override {
    if (::ftruncate(file_, static_cast<off_t>(size)) == 0 && ::fsync(file_) == 0) {
      return absl::OkStatus();
    }
    return SystemError("cutting off the torn last record", path_);
  }

 private:
  const std::string path_;
  const int file_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<JournalStorage>> OpenJournalFile(const std::string& path) {
  const bool is_new = !PathExists(path);
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0) return SystemError("opening", path);
  auto storage = std::make_unique<JournalFile>(path, file);
  if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return SystemError("locking", path);
    return FailureError(path, ": another process is writing this study; wait until it ends, or ",
                        "give this one a folder of its own");
  }
  if (is_new) MIXREC_RETURN_IF_ERROR(SyncFolder(FolderOf(path)));
  return storage;
}

}  // namespace mixrec::scheduler
