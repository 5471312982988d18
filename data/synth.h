// A synthetic data set with the structure that recommenders look for: categories and brands,
// titles made of their category's words, users whose tastes drift, items that follow each other
// (bundles), popularity skew. Deterministic in the seed; memory grows with items, not with users.
#pragma once

#include <cstdint>
#include <string>

#include "common/status.h"

namespace mixrec::data {

struct SynthOptions {
  int64_t users = 1000;
  int64_t items = 400;
  uint64_t seed = 1;
  double mean_length = 8;           // interactions a user, at least 5
  int64_t max_length = 60;          // interactions a user at most
  double bundle_probability = .5;   // next item is one that follows the last
  double drift_probability = .1;    // a user's taste moves to another category before a step
  double popularity_exponent = .8;  // Zipf exponent of the items inside a category
};

// Writes FOLDER/NAME.inter and FOLDER/NAME.item (RecBole atomic files; NAME is the last part of
// FOLDER), making the folder. UsageError when an option is out of range.
absl::Status WriteSynthetic(const SynthOptions& options, const std::string& folder);

}  // namespace mixrec::data
