#include "data/text_lines.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

#include "common/file.h"

namespace mixrec::data {
namespace {

constexpr size_t kBuffer = size_t{1} << 18;

}  // namespace

TextLines::TextLines(std::string path, gzFile_s* file, int64_t size)
    : path_(std::move(path)), file_(file), size_(size), buffer_(kBuffer) {}

TextLines::TextLines(TextLines&& other) noexcept
    : path_(std::move(other.path_)),
      file_(std::exchange(other.file_, nullptr)),
      size_(other.size_),
      number_(other.number_),
      buffer_(std::move(other.buffer_)),
      begin_(other.begin_),
      end_(other.end_),
      line_(std::move(other.line_)) {}

TextLines::~TextLines() {
  if (file_ != nullptr) gzclose_r(file_);
}

absl::StatusOr<TextLines> TextLines::Open(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) return DataError(path, ": cannot open: ", error.message());
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) return DataError(path, ": cannot open: ", std::strerror(errno));
  gzbuffer(file, kBuffer);
  return TextLines(path, file, static_cast<int64_t>(size));
}

int64_t TextLines::position() const { return static_cast<int64_t>(gzoffset(file_)); }

absl::StatusOr<bool> TextLines::Fill() {
  const int read = gzread(file_, buffer_.data(), static_cast<unsigned>(buffer_.size()));
  int error = Z_OK;
  const char* const text = gzerror(file_, &error);
  if (read < 0 || error == Z_BUF_ERROR) {  // the latter: the file ends inside the gzip data
    return DataError(path_, ": damaged or truncated after line ", number_, " (",
                     error == Z_BUF_ERROR ? "unexpected end" : text,
                     "); finish or repeat the download");
  }
  begin_ = 0;
  end_ = static_cast<size_t>(read);
  return read > 0;
}

absl::StatusOr<bool> TextLines::Next(std::string_view* line) {
  line_.clear();
  bool spans = false;
  for (;;) {
    if (begin_ == end_) {
      MIXREC_ASSIGN_OR_RETURN(const bool more, Fill());
      if (!more) {
        if (!spans) return false;
        break;
      }
    }
    const char* const start = buffer_.data() + begin_;
    const auto* const found = static_cast<const char*>(std::memchr(start, '\n', end_ - begin_));
    const size_t length = found != nullptr ? static_cast<size_t>(found - start) : end_ - begin_;
    begin_ += length + (found != nullptr ? 1 : 0);
    if (found != nullptr && !spans) {
      *line = {start, length};
      ++number_;
      return true;
    }
    line_.append(start, std::min(length, kMaxLine - std::min(kMaxLine, line_.size())));
    spans = true;
    if (found != nullptr) break;
  }
  *line = line_;
  ++number_;
  return true;
}

}  // namespace mixrec::data
