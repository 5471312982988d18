// A file written piece by piece that nobody sees before it is whole.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

#include "common/status.h"

namespace mixrec::data {

// Writes PATH.partial; only Commit gives it its name. Without Commit nothing stays behind. One
// thread. Failures name the path (a full disk among them).
class StreamedFile {
 public:
  explicit StreamedFile(std::string path);
  StreamedFile(const StreamedFile&) = delete;
  StreamedFile& operator=(const StreamedFile&) = delete;
  ~StreamedFile();

  absl::Status Write(std::string_view text);
  absl::Status Commit();

 private:
  absl::Status Failure() const;

  std::string path_, partial_;
  FILE* file_;
};

}  // namespace mixrec::data
