#include "model/config_reader.h"

#include "common/file.h"

namespace mixrec::model {
namespace {

using Json = nlohmann::json;

std::string Shorten(const Json& value) {
  if (value.is_structured()) return value.type_name();
  return value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 60);
}

}  // namespace

absl::StatusOr<ConfigReader> ConfigReader::Open(const std::string& folder) {
  const std::string path = StrCat(folder, "/config.json");
  MIXREC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return DataError(path, ": not a JSON object");
  return ConfigReader(std::move(json), path);
}

const Json* ConfigReader::Find(const char* field) const {
  const auto found = json_.find(field);
  return found == json_.end() || found->is_null() ? nullptr : &*found;
}

int64_t ConfigReader::Size(const char* field, int64_t maximum, int64_t fallback) {
  const Json* value = Find(field);
  if (value == nullptr) {
    if (fallback > 0) return fallback;
    Fail(field, "is missing");
    return 1;
  }
  if (!value->is_number_integer()) {
    Fail(field, "must be an integer");
    return 1;
  }
  const bool too_large =
      value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(maximum);
  if (too_large || value->get<int64_t>() < 1) {
    Fail(field, StrCat("must be between 1 and ", maximum));
    return 1;
  }
  return value->get<int64_t>();
}

double ConfigReader::Positive(const char* field, double fallback) {
  const Json* value = Find(field);
  if (value == nullptr) return fallback;
  if (!value->is_number() || !(value->get<double>() > 0)) {
    Fail(field, "must be a number above 0");
    return fallback;
  }
  return value->get<double>();
}

bool ConfigReader::Flag(const char* field, bool fallback) {
  const Json* value = Find(field);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) {
    Fail(field, "must be true or false");
    return fallback;
  }
  return value->get<bool>();
}

std::string ConfigReader::Text(const char* field, const std::string& fallback) {
  const Json* value = Find(field);
  if (value == nullptr) return fallback;
  if (!value->is_string()) {
    Fail(field, "must be a text");
    return fallback;
  }
  return value->get<std::string>();
}

void ConfigReader::RequireText(const char* field, const std::string& expected) {
  const Json* value = Find(field);
  if (value == nullptr || !value->is_string() || value->get<std::string>() != expected) {
    Fail(field, StrCat("must be \"", expected, "\""));
  }
}

void ConfigReader::Fail(const char* field, const std::string& what) {
  if (!status_.ok()) return;
  const Json* value = Find(field);
  status_ = DataError(path_, ": field \"", field, "\" ", what,
                      value == nullptr ? "" : StrCat(", found ", Shorten(*value)));
}

}  // namespace mixrec::model
