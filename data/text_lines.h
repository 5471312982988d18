// The lines of a text file, gzipped or plain, one after the other: memory for one line, whatever
// the file's size. Private to data/.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

struct gzFile_s;

namespace mixrec::data {

// One thread.
class TextLines {
 public:
  static constexpr size_t kMaxLine = size_t{1} << 24;  // bytes; a longer line is cut there

  // DataError when the file is missing.
  static absl::StatusOr<TextLines> Open(const std::string& path);
  TextLines(TextLines&& other) noexcept;
  TextLines& operator=(TextLines&&) = delete;
  TextLines(const TextLines&) = delete;
  TextLines& operator=(const TextLines&) = delete;
  ~TextLines();

  // The next line without its end, valid until the next call; false at the end of the file.
  // DataError for damaged or truncated gzip data.
  absl::StatusOr<bool> Next(std::string_view* line);

  int64_t number() const { return number_; }  // of the line that Next gave last, from 1
  int64_t position() const;                   // bytes of the file itself that were read
  int64_t size() const { return size_; }

 private:
  TextLines(std::string path, gzFile_s* file, int64_t size);
  absl::StatusOr<bool> Fill();

  std::string path_;
  gzFile_s* file_;
  int64_t size_ = 0;
  int64_t number_ = 0;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;  // of what is in the buffer and not yet given
  std::string line_;            // one that spans buffers
};

}  // namespace mixrec::data
