// RecBole's atomic files: a header `name:type` a column, then tab-separated lines (docs/data.md).
// Private to data/.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/file.h"
#include "common/status.h"

namespace mixrec::data {

class AtomicFile {
 public:
  // Maps the only FOLDER/*EXTENSION (such as ".inter") and reads its header. DataError when there
  // is none, more than one, or a malformed header.
  static absl::StatusOr<AtomicFile> OpenOnly(const std::string& folder, std::string_view extension);

  const std::string& path() const { return path_; }
  std::string_view bytes() const { return file_.bytes(); }

  // Index of a column by name, without its type.
  std::optional<size_t> Column(std::string_view name) const;
  // As above; a missing one is an error that lists the columns and says what to do.
  absl::StatusOr<size_t> RequiredColumn(std::string_view name, std::string_view remedy) const;

  // Reads the next line into `fields` (one view a column, into the map, CR and LF removed; blank
  // lines are skipped). False at the end of the file; DataError for a wrong number of columns.
  absl::StatusOr<bool> Next(std::vector<std::string_view>* fields);

  // "PATH:LINE: column NAME: ", of the line that Next read last.
  std::string Place(size_t column) const;

  // Bytes of the file after the header: an upper bound for reserving.
  size_t remaining_bytes() const { return file_.bytes().size() - position_; }

 private:
  absl::Status ReadHeader();
  std::string_view NextLine();
  std::string ColumnList() const;

  std::string path_;
  MappedFile file_;
  std::vector<std::string> columns_;
  size_t position_ = 0;
  int64_t line_ = 0;
};

}  // namespace mixrec::data
