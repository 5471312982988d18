#include "data/hard_samples.h"

#include <algorithm>

#include "common/log.h"

namespace mixrec::data {
namespace {

// Up to this many draws a negative before the candidates are listed: the chance to need the list is
// small unless most of the catalogue is excluded.
constexpr int kDrawsPerNegative = 32;

bool Contains(absl::Span<const int32_t> items, int32_t item) {
  return std::find(items.begin(), items.end(), item) != items.end();
}

// Appends `count` distinct ones of `candidates` (at least as many), by a partial shuffle.
void TakeDistinct(std::vector<int32_t> candidates, size_t count, RandomStream* random,
                  std::vector<int32_t>* out) {
  for (size_t k = 0; k < count; ++k) {
    std::swap(candidates[k], candidates[k + random->Below(candidates.size() - k)]);
    out->push_back(candidates[k]);
  }
}

}  // namespace

UniformNonCooccurring::UniformNonCooccurring(const Dataset& dataset) : dataset_(dataset) {
  offsets_.assign(static_cast<size_t>(dataset.items()) + 1, 0);
  std::vector<int32_t> last_user(static_cast<size_t>(dataset.items()), -1);
  const auto for_each_pair = [&](const auto& consume) {
    std::fill(last_user.begin(), last_user.end(), -1);
    for (int32_t user = 0; user < dataset.users(); ++user) {
      for (const int32_t item : dataset.training_items(user)) {
        int32_t& last = last_user[static_cast<size_t>(item)];
        if (last != user) consume(user, static_cast<size_t>(item));
        last = user;
      }
    }
  };
  for_each_pair([&](int32_t, size_t item) { ++offsets_[item + 1]; });
  for (size_t item = 0; item + 1 < offsets_.size(); ++item) offsets_[item + 1] += offsets_[item];
  users_.resize(static_cast<size_t>(offsets_.back()));
  std::vector<int64_t> next(offsets_.begin(), offsets_.end() - 1);
  for_each_pair(
      [&](int32_t user, size_t item) { users_[static_cast<size_t>(next[item]++)] = user; });
}

absl::Span<const int32_t> UniformNonCooccurring::users_of(int32_t item) const {
  const auto begin = static_cast<size_t>(offsets_[static_cast<size_t>(item)]);
  const auto end = static_cast<size_t>(offsets_[static_cast<size_t>(item) + 1]);
  return {users_.data() + begin, end - begin};
}

bool UniformNonCooccurring::Cooccur(int32_t a, int32_t b) const {
  const auto users_a = users_of(a), users_b = users_of(b);
  const auto shorter = users_a.size() <= users_b.size() ? users_a : users_b;
  const auto longer = users_a.size() <= users_b.size() ? users_b : users_a;
  return std::any_of(shorter.begin(), shorter.end(), [&](int32_t user) {
    return std::binary_search(longer.begin(), longer.end(), user);
  });
}

std::vector<int32_t> UniformNonCooccurring::Cooccurring(int32_t item) const {
  std::vector<int32_t> items{item};
  for (const int32_t user : users_of(item)) {
    const auto history = dataset_.training_items(user);
    items.insert(items.end(), history.begin(), history.end());
  }
  std::sort(items.begin(), items.end());
  items.erase(std::unique(items.begin(), items.end()), items.end());
  return items;
}

void UniformNonCooccurring::Draw(int32_t item, int count, RandomStream* random,
                                 std::vector<int32_t>* negatives) const {
  const int32_t items = dataset_.items();
  CHECK(item >= 0 && item < items) << "item " << item << " of " << items;
  CHECK(items >= 2 || count <= 0) << "a negative needs a second item";
  const size_t begin = negatives->size();
  const auto drawn = [&] { return absl::MakeConstSpan(*negatives).subspan(begin); };
  const auto wanted = static_cast<size_t>(std::max(count, 0));
  for (int draws = 0; drawn().size() < wanted && draws < kDrawsPerNegative * count; ++draws) {
    const auto other = static_cast<int32_t>(random->Below(static_cast<uint64_t>(items)));
    if (other == item || Contains(drawn(), other) || Cooccur(item, other)) continue;
    negatives->push_back(other);
  }
  if (drawn().size() == wanted) return;

  std::vector<int32_t> never, other_items;
  const std::vector<int32_t> cooccurring = Cooccurring(item);
  for (int32_t other = 0; other < items; ++other) {
    if (other == item || Contains(drawn(), other)) continue;
    const bool together = std::binary_search(cooccurring.begin(), cooccurring.end(), other);
    (together ? other_items : never).push_back(other);
  }
  size_t missing = wanted - drawn().size();
  const size_t from_never = std::min(missing, never.size());
  TakeDistinct(std::move(never), from_never, random, negatives);
  missing -= from_never;
  const size_t from_others = std::min(missing, other_items.size());
  TakeDistinct(std::move(other_items), from_others, random, negatives);
  missing -= from_others;
  for (; missing > 0; --missing) {  // the catalogue is smaller than `count`: repeat
    const auto other = static_cast<int32_t>(random->Below(static_cast<uint64_t>(items) - 1));
    negatives->push_back(other < item ? other : other + 1);
  }
}

}  // namespace mixrec::data
