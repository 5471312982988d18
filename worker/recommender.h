// The best items for given users, from their whole history.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "collective/group.h"
#include "common/status.h"
#include "data/catalogue.h"
#include "data/dataset.h"
#include "worker/model_state.h"

namespace mixrec::worker {

// Somebody to recommend to: a user of the data set, or anyone with a history.
struct RecommendationQuery {
  std::string name;                        // user id, or the name in the history file
  int32_t user = -1;                       // -1: never seen in training, so without a user column
  std::vector<int32_t> history;            // items, oldest first; at least one
  std::vector<std::string> unknown_items;  // ids of the history file that the data set lacks
};

// Users of the data set by id. DataError naming the first unknown id.
absl::StatusOr<std::vector<RecommendationQuery>> QueriesOfUsers(
    const data::Dataset& dataset, const std::vector<std::string>& user_ids);

// One user id a line; blank lines are skipped.
absl::StatusOr<std::vector<std::string>> ReadUserIds(const std::string& path);

// One history a line: a name, a tab or blank, then item ids separated by blanks or tabs, oldest
// first; blank lines and lines starting with # are skipped. Unknown item ids are left out
// and listed in the query. DataError naming file and line when no known item is left.
absl::StatusOr<std::vector<RecommendationQuery>> ReadHistories(const data::Dataset& dataset,
                                                               const std::string& path);

struct RecommendationOptions {
  int k = 10;                          // fewer when the catalogue has fewer
  bool keep_seen = false;              // recommend items of the history too
  int max_items = 50;                  // of the history, the last ones are read
  int64_t max_batch_tokens = 0;        // stream rows of a batch; 0: chosen by the device
  collective::Group* group = nullptr;  // ranks that share the queries and all get all answers
};

struct Recommendation {
  int32_t item = 0;
  float score = 0;  // logit of the item projection
};

// For every query its items, best first, ties by smaller item index.
absl::StatusOr<std::vector<std::vector<Recommendation>>> Recommend(
    const data::Catalogue& catalogue, const std::vector<RecommendationQuery>& queries,
    const RecommendationOptions& options, ModelState* state);

}  // namespace mixrec::worker
