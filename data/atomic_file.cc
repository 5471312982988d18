#include "data/atomic_file.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "data/utf8.h"

namespace mixrec::data {
namespace {

constexpr std::array<std::string_view, 4> kTypes{"token", "token_seq", "float", "float_seq"};

void SplitTabs(std::string_view line, std::vector<std::string_view>* fields) {
  fields->clear();
  for (;;) {
    const size_t tab = line.find('\t');
    fields->push_back(line.substr(0, tab));
    if (tab == std::string_view::npos) return;
    line.remove_prefix(tab + 1);
  }
}

absl::StatusOr<std::string> FindOnly(const std::string& folder, std::string_view extension) {
  std::error_code error;
  std::vector<std::string> found;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() == extension) found.push_back(it->path().string());
  }
  if (error) return DataError(folder, ": cannot list the data folder: ", error.message());
  std::sort(found.begin(), found.end());
  if (found.empty()) {
    return DataError(folder, ": no *", extension,
                     " file; a data folder holds RecBole atomic files, one *.inter and one *.item");
  }
  if (found.size() > 1) {
    return DataError(folder, ": ", found.size(), " files *", extension, " (", found[0], ", ",
                     found[1], found.size() > 2 ? ", ...)" : ")", "; leave exactly one");
  }
  return found[0];
}

}  // namespace

absl::StatusOr<AtomicFile> AtomicFile::OpenOnly(const std::string& folder,
                                                std::string_view extension) {
  AtomicFile file;
  MIXREC_ASSIGN_OR_RETURN(file.path_, FindOnly(folder, extension));
  MIXREC_ASSIGN_OR_RETURN(file.file_, MappedFile::Open(file.path_));
  MIXREC_RETURN_IF_ERROR(file.ReadHeader());
  return file;
}

absl::Status AtomicFile::ReadHeader() {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (bytes().substr(0, kByteOrderMark.size()) == kByteOrderMark) position_ = kByteOrderMark.size();
  const std::string_view line = NextLine();
  if (line.empty()) {
    return DataError(path_, ":1: no header; expected tab-separated `name:type` columns");
  }
  if (!IsUtf8(line)) return DataError(path_, ":1: the header is not UTF-8");
  std::vector<std::string_view> fields;
  SplitTabs(line, &fields);
  for (std::string_view field : fields) {
    const size_t colon = field.rfind(':');
    const std::string_view name = field.substr(0, colon);
    const std::string_view type =
        colon == std::string_view::npos ? std::string_view() : field.substr(colon + 1);
    if (name.empty() || std::find(kTypes.begin(), kTypes.end(), type) == kTypes.end()) {
      return DataError(path_, ":1: column ", columns_.size() + 1,
                       ": expected `name:type` with type ",
                       "token, token_seq, float or float_seq, found `", field, "`");
    }
    if (Column(name)) return DataError(path_, ":1: column `", name, "` appears twice");
    columns_.emplace_back(name);
  }
  return absl::OkStatus();
}

std::string_view AtomicFile::NextLine() {
  const std::string_view rest = bytes().substr(position_);
  const size_t end = std::min(rest.find('\n'), rest.size());
  position_ += std::min(end + 1, rest.size());
  ++line_;
  std::string_view line = rest.substr(0, end);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

std::optional<size_t> AtomicFile::Column(std::string_view name) const {
  const auto found = std::find(columns_.begin(), columns_.end(), name);
  if (found == columns_.end()) return std::nullopt;
  return static_cast<size_t>(found - columns_.begin());
}

absl::StatusOr<size_t> AtomicFile::RequiredColumn(std::string_view name,
                                                  std::string_view remedy) const {
  if (const auto column = Column(name)) return *column;
  return DataError(path_, ":1: no column `", name, "`; the columns are ", ColumnList(), ". ",
                   remedy);
}

std::string AtomicFile::ColumnList() const {
  std::string list;
  for (const std::string& column : columns_) {
    if (!list.empty()) list += ", ";
    list += column;
  }
  return list;
}

absl::StatusOr<bool> AtomicFile::Next(std::vector<std::string_view>* fields) {
  while (position_ < bytes().size()) {
    const std::string_view line = NextLine();
    if (line.empty()) continue;
    SplitTabs(line, fields);
    if (fields->size() != columns_.size()) {
      return DataError(path_, ":", line_, ": expected ", columns_.size(),
                       " tab-separated columns (", ColumnList(), "), found ", fields->size());
    }
    return true;
  }
  return false;
}

std::string AtomicFile::Place(size_t column) const {
  return StrCat(path_, ":", line_, ": column ", columns_[column], ": ");
}

}  // namespace mixrec::data
