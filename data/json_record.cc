#include "data/json_record.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace mixrec::data {

// nlohmann's events; returning false ends the reading.
class JsonRecordReader {
 public:
  explicit JsonRecordReader(JsonRecord* record) : record_(record) {}

  bool null() { return InsideObject(); }
  bool boolean(bool) { return InsideObject(); }
  bool number_integer(int64_t value) { return Number(static_cast<double>(value)); }
  bool number_unsigned(uint64_t value) { return Number(static_cast<double>(value)); }
  bool number_float(double value, const std::string&) { return Number(value); }
  bool binary(std::vector<uint8_t>&) { return false; }
  bool string(std::string& value) {
    if (field_ != nullptr && objects_ == 1) field_->texts.push_back(std::move(value));
    return InsideObject();
  }
  bool start_object(size_t) {
    ++objects_;
    return true;
  }
  bool end_object() {
    --objects_;
    return true;
  }
  bool start_array(size_t) { return InsideObject(); }
  bool end_array() { return true; }
  bool key(std::string& name) {
    if (objects_ != 1) return true;
    field_ = nullptr;
    for (JsonRecord::Field& field : record_->fields_) {
      if (field.name != name) continue;
      field.texts.clear();
      field.number.reset();
      field_ = &field;
    }
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::json::exception&) { return false; }

 private:
  bool InsideObject() const { return objects_ > 0; }
  bool Number(double value) {
    if (field_ != nullptr && objects_ == 1) field_->number = value;
    return InsideObject();
  }

  JsonRecord* record_;
  JsonRecord::Field* field_ = nullptr;  // of the outermost object, the one being read
  int64_t objects_ = 0;                 // open ones
};

JsonRecord::JsonRecord(std::vector<std::string> names) {
  for (std::string& name : names) fields_.push_back({std::move(name), {}, {}});
}

bool JsonRecord::Parse(std::string_view text) {
  for (Field& field : fields_) {
    field.texts.clear();
    field.number.reset();
  }
  JsonRecordReader reader(this);
  return nlohmann::json::sax_parse(text.data(), text.data() + text.size(), &reader);
}

const std::string& JsonRecord::text(size_t field) const {
  static const std::string empty;
  const std::vector<std::string>& texts = fields_[field].texts;
  return texts.size() == 1 ? texts.front() : empty;
}

}  // namespace mixrec::data
