// A data set as raw files in the manner of Amazon's (data/amazon.h): to try and to measure
// `mixrec prepare` without a download.
#pragma once

#include <string>

#include "common/status.h"

namespace mixrec::data {

// Writes the data set in `folder` (atomic files) as FOLDER/reviews.json.gz and
// FOLDER/meta.json.gz, with made-up review texts of the usual length: 0.4 KB a review. The same
// data give the same bytes. PrepareAmazon on them, with minima of 1, gives the data back.
absl::Status WriteRawFiles(const std::string& folder);

}  // namespace mixrec::data
