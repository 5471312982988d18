#include "launch/commands.h"
#include "launch/flags.h"
#include "launch/trained_model.h"
#include "worker/recommender.h"

namespace mixrec::launch {
namespace {

using Queries = std::vector<worker::RecommendationQuery>;

// Users of --users, then of --users_file, then of --history.
absl::StatusOr<Queries> ReadQueries(const data::Dataset& dataset) {
  std::vector<std::string> ids = SplitList(FLAGS_users);
  if (!FLAGS_users_file.empty()) {
    MIXREC_ASSIGN_OR_RETURN(const std::vector<std::string> more,
                            worker::ReadUserIds(FLAGS_users_file));
    ids.insert(ids.end(), more.begin(), more.end());
  }
  MIXREC_ASSIGN_OR_RETURN(Queries queries, worker::QueriesOfUsers(dataset, ids));
  if (FLAGS_history.empty()) return queries;
  MIXREC_ASSIGN_OR_RETURN(const Queries strangers, worker::ReadHistories(dataset, FLAGS_history));
  queries.insert(queries.end(), strangers.begin(), strangers.end());
  return queries;
}

nlohmann::ordered_json ToJson(const data::Dataset& dataset,
                              const worker::RecommendationQuery& query,
                              const std::vector<worker::Recommendation>& items) {
  nlohmann::ordered_json line;
  line["user"] = query.name;
  line["recommendations"] = nlohmann::ordered_json::array();
  for (const worker::Recommendation& item : items) {
    line["recommendations"].push_back({{"item", dataset.item_id(item.item)},
                                       {"title", dataset.title(item.item)},
                                       {"score", item.score}});
  }
  if (!query.unknown_items.empty()) line["unknown_items"] = query.unknown_items;
  return line;
}

absl::Status RecommendAmong(const Invocation& invocation, Ranks* ranks) {
  if (FLAGS_users.empty() && FLAGS_users_file.empty() && FLAGS_history.empty()) {
    return UsageError("one of --users, --users_file and --history is needed");
  }
  MIXREC_ASSIGN_OR_RETURN(TrainedModel trained, LoadTrainedModel(invocation, nullptr, ranks));
  const data::Dataset& dataset = trained.materials->dataset;
  MIXREC_ASSIGN_OR_RETURN(const Queries queries, ReadQueries(dataset));
  worker::RecommendationOptions options;
  options.k = static_cast<int>(FLAGS_k);
  options.keep_seen = FLAGS_keep_seen;
  options.group = ranks->group();
  options.max_items = trained.model.card.max_items;
  MIXREC_ASSIGN_OR_RETURN(
      const auto recommendations,
      worker::Recommend(trained.materials->catalogue, queries, options, trained.model.state.get()));
  MIXREC_RETURN_IF_ERROR(DropTables(&trained, *ranks));
  for (size_t i = 0; i < queries.size(); ++i) {
    *invocation.out << ToJson(dataset, queries[i], recommendations[i])
                           .dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)
                    << "\n";
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunRecommend(const Invocation& invocation) {
  return RunAmongRanks(invocation, RecommendAmong);
}

}  // namespace mixrec::launch
