#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "data/dataset.h"

namespace mixrec::data {
namespace {

void SayIf(int64_t count, std::string_view what, std::vector<std::string>* lines) {
  if (count > 0) lines->push_back(StrCat(count, " ", what));
}

}  // namespace

std::vector<std::string> Describe(const DatasetStats& stats) {
  std::vector<std::string> lines;
  lines.push_back(StrCat("before the filter: ", stats.users_before, " users, ", stats.items_before,
                         " items, ", stats.interactions_before, " interactions"));
  lines.push_back(StrCat("after the filter: ", stats.users_after, " users, ", stats.items_after,
                         " items, ", stats.interactions_after, " interactions"));
  lines.push_back(absl::StrFormat("density %.4f %%, mean history %.2f items", 100 * stats.density,
                                  stats.mean_length));
  if (!stats.has_timestamps) {
    lines.push_back("no column `timestamp`: the order of the file is taken as the order in time");
  }
  for (const std::string& field : stats.missing_fields) {
    lines.push_back(StrCat("no column `", field, "`: left out of the items' sentences"));
  }
  SayIf(stats.items_without_title, "items without a title dropped", &lines);
  SayIf(stats.items_below_minimum,
        StrCat("items with fewer than ", stats.min_item_interactions, " interactions dropped"),
        &lines);
  SayIf(stats.items_without_history, "items in no history left, not candidates", &lines);
  SayIf(
      stats.users_below_minimum,
      StrCat("users with fewer than ", stats.min_user_interactions, " interactions left dropped, ",
             stats.users_with_empty_history, " of them with none left"),
      &lines);
  SayIf(stats.unknown_item_interactions,
        StrCat("interactions with ", stats.unknown_items, " items that *.item lacks dropped"),
        &lines);
  SayIf(stats.duplicate_items, "repeated item lines ignored (the first one counts)", &lines);
  SayIf(stats.repaired_texts, "texts with invalid UTF-8 repaired (U+FFFD)", &lines);
  SayIf(stats.repeated_pairs, "repeated (user, item) pairs kept", &lines);
  SayIf(stats.users_with_one_training_item,
        "users with one training item: evaluated, not trained on", &lines);
  return lines;
}

}  // namespace mixrec::data
