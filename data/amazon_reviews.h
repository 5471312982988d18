// Reviews in compact form: sorted, each once, filtered. Private to data/.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/amazon.h"

namespace mixrec::data {

// Ids numbered in the order in which they were first met. About 100 bytes an id.
class IdNumbers {
 public:
  int32_t Add(const std::string& id);
  int32_t Find(const std::string& id) const;  // -1: never met
  const std::string& id(int32_t number) const { return *ids_[static_cast<size_t>(number)]; }
  int32_t size() const { return static_cast<int32_t>(ids_.size()); }

 private:
  std::unordered_map<std::string, int32_t> numbers_;
  std::vector<const std::string*> ids_;  // keys of the map, which stay where they are
};

struct CompactReview {
  uint32_t time = 0;
  int32_t user = 0;
  int32_t item = 0;
  float rating = 0;
};
static_assert(sizeof(CompactReview) == 16);

// Sorts by time, ties as they are, and keeps the first of those with one user, item and time.
// Returns how many were dropped.
int64_t SortAndDropRepeated(std::vector<CompactReview>* reviews);

// Keeps the reviews that the options' filter keeps, in their order. Returns its rounds.
int64_t FilterReviews(const AmazonOptions& options, int32_t users, int32_t items,
                      std::vector<CompactReview>* reviews);

// How many different users or items the reviews have.
int64_t DifferentUsers(const std::vector<CompactReview>& reviews, int32_t users);
int64_t DifferentItems(const std::vector<CompactReview>& reviews, int32_t items);

}  // namespace mixrec::data
