#include "worker/recommender.h"

#include <algorithm>

#include "worker/query_runner.h"

namespace mixrec::worker {
namespace {

ItemLists Histories(const std::vector<RecommendationQuery>& queries,
                    absl::Span<const int32_t> indices) {
  ItemLists lists;
  lists.reserve(indices.size());
  for (const int32_t index : indices) {
    lists.push_back(queries[static_cast<size_t>(index)].history);
  }
  return lists;
}

std::vector<Recommendation> OneList(const RankedItems& ranked, int64_t row) {
  const auto items = ranked.items.accessor<int32_t, 2>();
  const auto scores = ranked.scores.accessor<float, 2>();
  std::vector<Recommendation> list;
  for (int64_t k = 0; k < items.size(1); ++k) {
    if (items[row][k] < 0) break;  // all others are in the history
    list.push_back({items[row][k], scores[row][k]});
  }
  return list;
}

}  // namespace

absl::StatusOr<std::vector<std::vector<Recommendation>>> Recommend(
    const data::Catalogue& catalogue, const std::vector<RecommendationQuery>& queries,
    const RecommendationOptions& options, ModelState* state) {
  if (options.k < 1) return UsageError("--k=", options.k, " must be positive");
  std::vector<data::EvaluationQuery> sequences;
  sequences.reserve(queries.size());
  for (const RecommendationQuery& query : queries) {
    if (query.history.empty()) return DataError(query.name, ": an empty history");
    const auto count = std::min(query.history.size(), static_cast<size_t>(options.max_items));
    sequences.push_back(
        {query.user, absl::MakeConstSpan(query.history).subspan(query.history.size() - count)});
  }
  std::vector<std::vector<Recommendation>> lists(queries.size());
  const auto consume = [&](absl::Span<const int32_t> indices,
                           const at::Tensor& states) -> absl::Status {
    const ItemLists hidden = options.keep_seen ? ItemLists() : Histories(queries, indices);
    MIXREC_ASSIGN_OR_RETURN(const RankedItems ranked,
                            state->projection().TopK(state->step(), states, options.k, hidden));
    for (size_t row = 0; row < indices.size(); ++row) {
      lists[static_cast<size_t>(indices[row])] = OneList(ranked, static_cast<int64_t>(row));
    }
    return absl::OkStatus();
  };
  MIXREC_RETURN_IF_ERROR(RunQueries(catalogue, sequences,
                                    {options.max_items, options.max_batch_tokens}, state, consume));
  return lists;
}

}  // namespace mixrec::worker
