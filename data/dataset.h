// A data set in memory: users' histories as dense item indices, items' titles and sentences, and
// the leave-one-out splits. Read from RecBole atomic files (docs/data.md).
//
// Does not tokenise (catalogue.h) and does not sample (batcher.h). Immutable once loaded: any
// thread may read it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/types/span.h"
#include "common/status.h"

namespace mixrec::data {

struct DatasetOptions {
  std::string folder;  // holds exactly one *.inter and one *.item
  // Columns whose `key value` pairs make an item's sentence, in this order (model.md D15).
  std::vector<std::string> item_fields{"title", "brand", "categories"};
  std::string title_field = "title";  // an item without it is dropped
  int64_t min_item_interactions = 4;  // items with fewer in the file are dropped; 1 keeps all
  int64_t min_user_interactions = 3;  // users with fewer left after that are dropped
};

// What the reader met and what the filter did. "Before" counts the file, "after" what is left.
struct DatasetStats {
  int64_t users_before = 0, users_after = 0;
  int64_t items_before = 0, items_after = 0;  // items_before: lines of *.item, without duplicates
  int64_t interactions_before = 0, interactions_after = 0;

  int64_t items_without_title = 0;           // items of *.item
  int64_t items_below_minimum = 0;           // items with a title and too few interactions (> 0)
  int64_t items_without_history = 0;         // items left by the filter that no history holds
  int64_t duplicate_items = 0;               // later lines of an item already met, ignored
  int64_t unknown_items = 0;                 // item ids of *.inter that *.item lacks
  int64_t unknown_item_interactions = 0;     // ... and their interactions, dropped
  int64_t repeated_pairs = 0;                // interactions left whose (user, item) came before
  int64_t users_below_minimum = 0;           // users dropped with too few interactions left
  int64_t users_with_empty_history = 0;      // ... of which with none left
  int64_t users_with_one_training_item = 0;  // evaluated, not trained on
  int64_t repaired_texts = 0;                // values with invalid UTF-8, replaced by U+FFFD
  bool has_timestamps = true;                // false: the file order is the order in time
  std::vector<std::string> missing_fields;   // default item fields that *.item lacks, left out

  int64_t min_item_interactions = 0, min_user_interactions = 0;  // as they were asked for
  double density = 0;      // interactions / (users * items), after
  double mean_length = 0;  // interactions / users, after
};

// Plain lines for people: counts before and after, then every irregularity that occurred.
std::vector<std::string> Describe(const DatasetStats& stats);

enum class Split { kValidation, kTest };

class Dataset {
 public:
  // Histories and items as given, numbered as given; for tests and generators. Every history needs
  // at least 3 items below titles.size().
  static Dataset FromHistories(const std::vector<std::vector<int32_t>>& histories,
                               std::vector<std::string> titles);

  Dataset() = default;
  Dataset(Dataset&&) = default;
  Dataset& operator=(Dataset&&) = default;
  Dataset(const Dataset&) = delete;
  Dataset& operator=(const Dataset&) = delete;

  int32_t users() const { return static_cast<int32_t>(user_ids_.size()); }
  int32_t items() const { return static_cast<int32_t>(item_ids_.size()); }
  int64_t interactions() const { return static_cast<int64_t>(history_items_.size()); }

  // Items of a user, oldest first: by timestamp, ties by file order. At least 3 of them.
  absl::Span<const int32_t> history(int32_t user) const {
    const auto begin = history_offsets_[static_cast<size_t>(user)];
    const auto end = history_offsets_[static_cast<size_t>(user) + 1];
    return {history_items_.data() + begin, static_cast<size_t>(end - begin)};
  }
  // The training history S: all but the last two (model.md D19). At least one item.
  absl::Span<const int32_t> training_items(int32_t user) const {
    const auto all = history(user);
    return all.subspan(0, all.size() - 2);
  }
  int32_t validation_target(int32_t user) const {
    const auto all = history(user);
    return all[all.size() - 2];
  }
  int32_t test_target(int32_t user) const { return history(user).back(); }
  int32_t target(int32_t user, Split split) const {
    return split == Split::kValidation ? validation_target(user) : test_target(user);
  }

  const std::string& user_id(int32_t user) const { return user_ids_[static_cast<size_t>(user)]; }
  const std::string& item_id(int32_t item) const { return item_ids_[static_cast<size_t>(item)]; }
  const std::string& title(int32_t item) const { return titles_[static_cast<size_t>(item)]; }
  // `title <t> brand <b> ...`, single spaces, empty values skipped (model.md D15).
  const std::string& sentence(int32_t item) const { return sentences_[static_cast<size_t>(item)]; }

  // Index of an id of the file; nothing when the filter dropped it or the file lacks it.
  std::optional<int32_t> FindUser(std::string_view id) const;
  std::optional<int32_t> FindItem(std::string_view id) const;

  const DatasetStats& stats() const { return stats_; }
  // Hash of the two files' bytes, 32 hexadecimal digits; independent of the folder's place.
  const std::string& content_hash() const { return content_hash_; }

 private:
  friend class DatasetBuilder;
  using Index = std::unordered_map<std::string_view, int32_t>;  // views into the id vectors

  void IndexIds();

  std::vector<int64_t> history_offsets_{0};  // [users + 1]
  std::vector<int32_t> history_items_;
  std::vector<std::string> user_ids_, item_ids_, titles_, sentences_;
  Index user_index_, item_index_;
  DatasetStats stats_;
  std::string content_hash_;
};

// Reads, filters and sorts. Users are numbered by first appearance in *.inter, items by first
// appearance in *.item, counting only those left. Every message names file, line and column.
absl::StatusOr<Dataset> LoadDataset(const DatasetOptions& options);

// What the model reads to predict a split's target: S, for the test S and the validation item; the
// last `max_items` of it.
absl::Span<const int32_t> EvaluationInput(const Dataset& dataset, int32_t user, Split split,
                                          int max_items = 50);
// What it reads to recommend: the last `max_items` of the whole history.
absl::Span<const int32_t> RecommendationInput(const Dataset& dataset, int32_t user,
                                              int max_items = 50);

// Users with at least two training items, ascending (model.md D19).
std::vector<int32_t> TrainableUsers(const Dataset& dataset);

}  // namespace mixrec::data
