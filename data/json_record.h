// Chosen fields of a JSON object, read from its text without building a document. Private to data/.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mixrec::data {

// Reused from line to line. One thread.
class JsonRecord {
 public:
  // The fields to keep, by name; later ones by their position here.
  explicit JsonRecord(std::vector<std::string> names);

  // False when the text is not one JSON object in UTF-8. Of a field that appears twice the later
  // value counts.
  bool Parse(std::string_view text);

  // Strings of a field: its own, or those of the lists in it, in order. Others are left out.
  const std::vector<std::string>& texts(size_t field) const { return fields_[field].texts; }
  // The field's only string, empty otherwise.
  const std::string& text(size_t field) const;
  std::optional<double> number(size_t field) const { return fields_[field].number; }

 private:
  friend class JsonRecordReader;
  struct Field {
    std::string name;
    std::vector<std::string> texts;
    std::optional<double> number;
  };
  std::vector<Field> fields_;
};

}  // namespace mixrec::data
