// The fields of a checkpoint's config.json, checked one by one. Private to the room.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "common/status.h"

namespace mixrec::model {

// Keeps the first failure, which names the file and the field; what is read after it is a harmless
// value.
class ConfigReader {
 public:
  // FOLDER/config.json.
  static absl::StatusOr<ConfigReader> Open(const std::string& folder);

  bool Has(const char* field) const { return json_.contains(field); }
  // An integer in [1, maximum]; a missing or null field gives `fallback` (0: it must be there).
  int64_t Size(const char* field, int64_t maximum, int64_t fallback = 0);
  // A number above zero; a missing or null field gives `fallback`.
  double Positive(const char* field, double fallback);
  bool Flag(const char* field, bool fallback);
  // A missing or null field gives `fallback`.
  std::string Text(const char* field, const std::string& fallback);
  void RequireText(const char* field, const std::string& expected);
  void Fail(const char* field, const std::string& what);

  const absl::Status& status() const { return status_; }

 private:
  ConfigReader(nlohmann::json json, std::string path)
      : json_(std::move(json)), path_(std::move(path)) {}
  // nullptr for a missing or null field.
  const nlohmann::json* Find(const char* field) const;

  nlohmann::json json_;
  std::string path_;
  absl::Status status_;
};

}  // namespace mixrec::model
