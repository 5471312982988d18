// The Amazon 2018 review data (Ni, Li, McAuley, EMNLP 2019) as it is downloaded, made a data set
// in RecBole's atomic format (docs/data.md, "Raw files").
//
// Streams: item texts are never held, reviews as 16 bytes each.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"

namespace mixrec::data {

struct AmazonOptions {
  std::string reviews;  // CATEGORY.json.gz, one review a line; plain text works too
  std::string meta;     // meta_CATEGORY.json.gz, one item a line
  std::string folder;   // to write to, made if missing
  std::string name;     // of the files; empty: the folder's last part

  // Kept are items with a title. Without `k_core`: those with so many reviews (the paper's Sec.
  // 3.1.1), then users with so many of what is left. With it: the largest subset in which every
  // item and every user has at least `k_core`.
  int64_t k_core = 0;
  int64_t min_item_interactions = 4;
  int64_t min_user_interactions = 1;
  double max_broken_share = 0.05;  // of a file's lines; more is an error
  bool progress = true;
};

struct RawFileReport {
  std::string path;
  int64_t lines = 0;                  // without blank ones
  int64_t broken = 0;                 // not JSON, or without a needed field
  std::vector<int64_t> first_broken;  // line numbers, a few
};

struct AmazonReport {
  RawFileReport reviews, meta;
  int64_t items_in_meta = 0;  // different ids
  int64_t items_without_title = 0;
  int64_t repeated_items = 0;      // later lines of an item with a title, ignored
  int64_t reviews_of_unknown = 0;  // reviews of items that the meta file lacks
  int64_t reviews_of_untitled = 0;
  int64_t repeated_reviews = 0;                                       // same user, item and time
  int64_t users_before = 0, items_before = 0, reviews_before = 0;     // titled, each review once
  int64_t users = 0, items = 0, interactions = 0, filter_rounds = 0;  // written
  std::string folder;
};

// Writes FOLDER/NAME.item (item_id title brand categories description, in the order of the meta
// file) and FOLDER/NAME.inter (user_id item_id rating timestamp, by time, ties in the order of the
// reviews). The same files give the same bytes. Nothing is left behind by a failure or a stop
// (StoppedError). DataError: a missing or damaged file, too many broken lines, nothing left.
absl::StatusOr<AmazonReport> PrepareAmazon(const AmazonOptions& options);

// Lines for people: what was read, what was dropped and why, what is left.
std::vector<std::string> Describe(const AmazonReport& report);

}  // namespace mixrec::data
