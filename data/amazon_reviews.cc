#include "data/amazon_reviews.h"

#include <algorithm>
#include <unordered_set>

namespace mixrec::data {
namespace {

using Reviews = std::vector<CompactReview>;
using Member = int32_t CompactReview::*;

std::vector<int64_t> Counts(const Reviews& reviews, Member side, int32_t size) {
  std::vector<int64_t> counts(static_cast<size_t>(size), 0);
  for (const CompactReview& review : reviews) ++counts[static_cast<size_t>(review.*side)];
  return counts;
}

// Drops the reviews whose user, or item, has fewer than `least` of them; whether there were any.
bool DropRare(Member side, int32_t size, int64_t least, Reviews* reviews) {
  const std::vector<int64_t> counts = Counts(*reviews, side, size);
  const auto kept = std::remove_if(reviews->begin(), reviews->end(), [&](const CompactReview& r) {
    return counts[static_cast<size_t>(r.*side)] < least;
  });
  const bool any = kept != reviews->end();
  reviews->erase(kept, reviews->end());
  return any;
}

int64_t Different(const Reviews& reviews, Member side, int32_t size) {
  const std::vector<int64_t> counts = Counts(reviews, side, size);
  return std::count_if(counts.begin(), counts.end(), [](int64_t count) { return count > 0; });
}

uint64_t PairKey(const CompactReview& review) {
  return static_cast<uint64_t>(review.user) << 32 | static_cast<uint32_t>(review.item);
}

}  // namespace

int32_t IdNumbers::Add(const std::string& id) {
  const auto [found, is_new] = numbers_.try_emplace(id, size());
  if (is_new) ids_.push_back(&found->first);
  return found->second;
}

int32_t IdNumbers::Find(const std::string& id) const {
  const auto found = numbers_.find(id);
  return found == numbers_.end() ? -1 : found->second;
}

int64_t SortAndDropRepeated(Reviews* reviews) {
  std::stable_sort(reviews->begin(), reviews->end(),
                   [](const CompactReview& a, const CompactReview& b) { return a.time < b.time; });
  std::unordered_set<uint64_t> pairs;  // of the time being looked at
  uint32_t time = 0;
  const auto kept =
      std::remove_if(reviews->begin(), reviews->end(), [&](const CompactReview& review) {
        if (review.time != time) pairs.clear();
        time = review.time;
        return !pairs.insert(PairKey(review)).second;
      });
  const int64_t dropped = reviews->end() - kept;
  reviews->erase(kept, reviews->end());
  return dropped;
}

int64_t FilterReviews(const AmazonOptions& options, int32_t users, int32_t items,
                      Reviews* reviews) {
  if (options.k_core == 0) {
    DropRare(&CompactReview::item, items, options.min_item_interactions, reviews);
    DropRare(&CompactReview::user, users, options.min_user_interactions, reviews);
    return 1;
  }
  int64_t rounds = 1;
  for (bool changed = true; changed; ++rounds) {
    changed = DropRare(&CompactReview::item, items, options.k_core, reviews);
    changed = DropRare(&CompactReview::user, users, options.k_core, reviews) || changed;
    if (!changed) break;
  }
  return rounds;
}

int64_t DifferentUsers(const Reviews& reviews, int32_t users) {
  return Different(reviews, &CompactReview::user, users);
}
int64_t DifferentItems(const Reviews& reviews, int32_t items) {
  return Different(reviews, &CompactReview::item, items);
}

}  // namespace mixrec::data
