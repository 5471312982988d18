#include <algorithm>

#include "common/file.h"
#include "data/dataset.h"
#include "data/dataset_tables.h"

namespace mixrec::data {

// The one-pass filter, then the numbering of what is left.
class DatasetBuilder {
 public:
  DatasetBuilder(const DatasetOptions& options, ItemTable items, InteractionTable interactions,
                 DatasetStats stats)
      : options_(options), items_(std::move(items)), table_(std::move(interactions)) {
    dataset_.stats_ = std::move(stats);
  }

  Dataset Build(std::string content_hash) {
    FilterItems();
    FilterUsers();
    NumberItems();
    FillHistories();
    FinishStats();
    dataset_.content_hash_ = std::move(content_hash);
    dataset_.IndexIds();
    return std::move(dataset_);
  }

 private:
  static constexpr int32_t kDropped = -1;

  void FilterItems() {
    std::vector<int64_t> count(items_.ids.size(), 0);
    for (const Interaction& row : table_.rows) ++count[static_cast<size_t>(row.item)];
    keep_item_.assign(items_.ids.size(), false);
    for (size_t item = 0; item < count.size(); ++item) {
      if (items_.titles[item].empty()) continue;
      keep_item_[item] = count[item] >= options_.min_item_interactions;
      dataset_.stats_.items_below_minimum += !keep_item_[item] && count[item] > 0;
    }
    const auto dropped = [this](const Interaction& row) {
      return !keep_item_[static_cast<size_t>(row.item)];
    };
    table_.rows.erase(std::remove_if(table_.rows.begin(), table_.rows.end(), dropped),
                      table_.rows.end());
  }

  void FilterUsers() {
    std::vector<int64_t> count(table_.user_ids.size(), 0);
    for (const Interaction& row : table_.rows) ++count[static_cast<size_t>(row.user)];
    user_number_.assign(count.size(), kDropped);
    for (size_t user = 0; user < count.size(); ++user) {
      if (count[user] < options_.min_user_interactions) {
        ++dataset_.stats_.users_below_minimum;
        dataset_.stats_.users_with_empty_history += count[user] == 0;
        continue;
      }
      user_number_[user] = static_cast<int32_t>(dataset_.user_ids_.size());
      dataset_.user_ids_.emplace_back(table_.user_ids[user]);
      dataset_.history_offsets_.push_back(dataset_.history_offsets_.back() + count[user]);
    }
  }

  // Items that some kept history holds, in the order of *.item.
  void NumberItems() {
    std::vector<bool> seen(items_.ids.size(), false);
    for (const Interaction& row : table_.rows) {
      if (user_number_[static_cast<size_t>(row.user)] != kDropped) {
        seen[static_cast<size_t>(row.item)] = true;
      }
    }
    item_number_.assign(items_.ids.size(), kDropped);
    for (size_t item = 0; item < seen.size(); ++item) {
      if (!seen[item]) continue;
      item_number_[item] = dataset_.items();
      dataset_.item_ids_.emplace_back(items_.ids[item]);
      dataset_.titles_.push_back(std::move(items_.titles[item]));
      dataset_.sentences_.push_back(std::move(items_.sentences[item]));
    }
  }

  // Sorted by time; the stable sort keeps the file order of ties.
  void FillHistories() {
    std::stable_sort(table_.rows.begin(), table_.rows.end(),
                     [](const Interaction& a, const Interaction& b) {
                       return a.user != b.user ? a.user < b.user : a.time < b.time;
                     });
    dataset_.history_items_.reserve(static_cast<size_t>(dataset_.history_offsets_.back()));
    for (const Interaction& row : table_.rows) {
      if (user_number_[static_cast<size_t>(row.user)] == kDropped) continue;
      dataset_.history_items_.push_back(item_number_[static_cast<size_t>(row.item)]);
    }
  }

  void FinishStats() {
    DatasetStats& stats = dataset_.stats_;
    stats.users_after = dataset_.users();
    stats.items_after = dataset_.items();
    stats.interactions_after = dataset_.interactions();
    stats.items_without_history = stats.items_before - stats.items_without_title -
                                  stats.items_below_minimum - stats.items_after;
    std::vector<int32_t> sorted;
    for (int32_t user = 0; user < dataset_.users(); ++user) {
      const auto history = dataset_.history(user);
      sorted.assign(history.begin(), history.end());
      std::sort(sorted.begin(), sorted.end());
      stats.repeated_pairs += sorted.end() - std::unique(sorted.begin(), sorted.end());
      stats.users_with_one_training_item += history.size() == 3;
    }
    const double users = std::max<double>(1, dataset_.users());
    const double items = std::max<double>(1, dataset_.items());
    stats.mean_length = static_cast<double>(stats.interactions_after) / users;
    stats.density = stats.mean_length / items;
  }

  const DatasetOptions& options_;
  ItemTable items_;
  InteractionTable table_;
  Dataset dataset_;
  std::vector<bool> keep_item_;
  std::vector<int32_t> user_number_, item_number_;
};

namespace {

absl::Status CheckOptions(const DatasetOptions& options) {
  if (options.folder.empty()) return UsageError("--data: no data folder given");
  if (options.item_fields.empty()) return UsageError("--item_fields: needs at least one column");
  if (options.min_item_interactions < 1) {
    return UsageError("--min_item_interactions: at least 1 (1 keeps all), found ",
                      options.min_item_interactions);
  }
  if (options.min_user_interactions < 3) {
    return UsageError("at least 3 interactions a user (training, validation, test), found ",
                      options.min_user_interactions);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Dataset> LoadDataset(const DatasetOptions& options) {
  MIXREC_RETURN_IF_ERROR(CheckOptions(options));
  MIXREC_ASSIGN_OR_RETURN(AtomicFile inter_file, AtomicFile::OpenOnly(options.folder, ".inter"));
  MIXREC_ASSIGN_OR_RETURN(AtomicFile item_file, AtomicFile::OpenOnly(options.folder, ".item"));
  DatasetStats stats;
  stats.min_item_interactions = options.min_item_interactions;
  stats.min_user_interactions = options.min_user_interactions;
  MIXREC_ASSIGN_OR_RETURN(ItemTable items, ReadItems(&item_file, options, &stats));
  MIXREC_ASSIGN_OR_RETURN(InteractionTable table, ReadInteractions(&inter_file, items, &stats));
  std::string hash = ContentHash(ContentHash(inter_file.bytes()) + ContentHash(item_file.bytes()));
  Dataset dataset = DatasetBuilder(options, std::move(items), std::move(table), std::move(stats))
                        .Build(std::move(hash));
  if (dataset.users() == 0) {
    std::string met;
    for (const std::string& line : Describe(dataset.stats())) met += "\n  " + line;
    return DataError(options.folder, ": no user is left by the filter; lower ",
                     "--min_item_interactions or check the ids of the two files:", met);
  }
  return dataset;
}

}  // namespace mixrec::data
