// The lines of Amazon's raw files as records. Private to data/.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "common/status.h"
#include "data/amazon.h"
#include "data/json_record.h"

namespace mixrec::data {

struct RawReview {
  const std::string* user = nullptr;
  const std::string* item = nullptr;
  uint32_t time = 0;  // seconds since 1970
  float rating = 0;
};

// A line of the meta file. Texts are clean (page_text.h) once Texts was asked.
struct RawItem {
  const std::string* id = nullptr;
  bool has_title = false;
  const JsonRecord* record = nullptr;
};
struct ItemTexts {
  std::string title, brand, categories, description;
};
ItemTexts TextsOf(const RawItem& item);

// Reads a whole file, counting in `report` (set anew). Stops at what `take` returns, at a stop
// request, and at too many broken lines.
absl::Status ReadReviews(const AmazonOptions& options, RawFileReport* report,
                         const std::function<absl::Status(const RawReview&)>& take);
absl::Status ReadRawItems(const AmazonOptions& options, RawFileReport* report,
                          const std::function<absl::Status(const RawItem&)>& take);

}  // namespace mixrec::data
