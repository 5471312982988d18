#include "data/dataset.h"

#include <algorithm>

#include "common/file.h"
#include "common/log.h"

namespace mixrec::data {
namespace {

absl::Span<const int32_t> Last(absl::Span<const int32_t> items, int count) {
  const size_t kept = std::min(items.size(), static_cast<size_t>(std::max(count, 0)));
  return items.subspan(items.size() - kept);
}

}  // namespace

Dataset Dataset::FromHistories(const std::vector<std::vector<int32_t>>& histories,
                               std::vector<std::string> titles) {
  Dataset dataset;
  std::string content;
  for (size_t item = 0; item < titles.size(); ++item) {
    dataset.item_ids_.push_back(StrCat("i", item));
    dataset.sentences_.push_back(StrCat("title ", titles[item]));
    content += titles[item] + '\n';
  }
  dataset.titles_ = std::move(titles);
  for (size_t user = 0; user < histories.size(); ++user) {
    CHECK_GE(histories[user].size(), 3u) << "a history needs a training, a validation, a test item";
    for (const int32_t item : histories[user]) {
      CHECK(item >= 0 && item < dataset.items()) << "item " << item << " has no title";
      dataset.history_items_.push_back(item);
      content += StrCat(item, " ");
    }
    content += '\n';
    dataset.history_offsets_.push_back(dataset.interactions());
    dataset.user_ids_.push_back(StrCat("u", user));
  }
  dataset.content_hash_ = ContentHash(content);
  dataset.IndexIds();
  return dataset;
}

void Dataset::IndexIds() {
  const auto index = [](const std::vector<std::string>& ids, Index* map) {
    map->reserve(ids.size());
    for (size_t i = 0; i < ids.size(); ++i) map->emplace(ids[i], static_cast<int32_t>(i));
  };
  index(user_ids_, &user_index_);
  index(item_ids_, &item_index_);
}

std::optional<int32_t> Dataset::FindUser(std::string_view id) const {
  const auto found = user_index_.find(id);
  if (found == user_index_.end()) return std::nullopt;
  return found->second;
}

std::optional<int32_t> Dataset::FindItem(std::string_view id) const {
  const auto found = item_index_.find(id);
  if (found == item_index_.end()) return std::nullopt;
  return found->second;
}

absl::Span<const int32_t> EvaluationInput(const Dataset& dataset, int32_t user, Split split,
                                          int max_items) {
  const auto all = dataset.history(user);
  const size_t targets = split == Split::kValidation ? 2 : 1;
  return Last(all.subspan(0, all.size() - targets), max_items);
}

absl::Span<const int32_t> RecommendationInput(const Dataset& dataset, int32_t user, int max_items) {
  return Last(dataset.history(user), max_items);
}

std::vector<int32_t> TrainableUsers(const Dataset& dataset) {
  std::vector<int32_t> users;
  users.reserve(static_cast<size_t>(dataset.users()));
  for (int32_t user = 0; user < dataset.users(); ++user) {
    if (dataset.training_items(user).size() >= 2) users.push_back(user);
  }
  return users;
}

}  // namespace mixrec::data
