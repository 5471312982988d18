#include "data/streamed_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace mixrec::data {

StreamedFile::StreamedFile(std::string path)
    : path_(std::move(path)),
      partial_(path_ + ".partial"),
      file_(std::fopen(partial_.c_str(), "wb")) {}

StreamedFile::~StreamedFile() {
  if (file_ == nullptr) return;
  std::fclose(file_);
  std::remove(partial_.c_str());
}

absl::Status StreamedFile::Write(std::string_view text) {
  if (file_ == nullptr || std::fwrite(text.data(), 1, text.size(), file_) != text.size()) {
    return Failure();
  }
  return absl::OkStatus();
}

absl::Status StreamedFile::Commit() {
  if (file_ == nullptr || std::fflush(file_) != 0 || fsync(fileno(file_)) != 0) return Failure();
  FILE* const file = file_;
  file_ = nullptr;
  if (std::fclose(file) != 0 || std::rename(partial_.c_str(), path_.c_str()) != 0) {
    return Failure();
  }
  return absl::OkStatus();
}

absl::Status StreamedFile::Failure() const {
  return FailureError(path_, ": cannot write: ", std::strerror(errno));
}

}  // namespace mixrec::data
