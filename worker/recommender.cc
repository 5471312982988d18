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

// The answers to all queries [Q, k], as a group adds them up: zeros where another rank answers.
struct Answers {
  Answers(int64_t queries, int64_t k)
      : items(at::zeros({queries, k}, at::kInt)), scores(at::zeros({queries, k}, at::kFloat)) {}
  at::Tensor items;   // index + 1; 0: no item is left
  at::Tensor scores;  // logits

  void Put(int64_t query, const RankedItems& ranked, int64_t row) {
    const at::Tensor found = ranked.items[row];
    items[query].narrow(0, 0, found.size(0)).copy_(found + 1);
    scores[query].narrow(0, 0, found.size(0)).copy_(ranked.scores[row].where(found >= 0, 0));
  }
  std::vector<Recommendation> List(int64_t query) const {
    const auto item = items.accessor<int32_t, 2>()[query];
    const auto score = scores.accessor<float, 2>()[query];
    std::vector<Recommendation> list;
    for (int64_t k = 0; k < items.size(1) && item[k] > 0; ++k) {
      list.push_back({item[k] - 1, score[k]});
    }
    return list;
  }
};

absl::Status Gather(collective::Group* group, const absl::Status& mine, Answers* answers) {
  if (group == nullptr || collective::IsAgreed(mine)) return mine;
  MIXREC_RETURN_IF_ERROR(collective::Agree(group, mine, "the recommendations"));
  MIXREC_RETURN_IF_ERROR(group->AllReduce(answers->items, "the recommendations"));
  return group->AllReduce(answers->scores, "the recommendations");
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
  Answers answers(static_cast<int64_t>(queries.size()),
                  std::min<int64_t>(options.k, state->items()));
  const auto consume = [&](absl::Span<const int32_t> indices,
                           const at::Tensor& states) -> absl::Status {
    const ItemLists hidden = options.keep_seen ? ItemLists() : Histories(queries, indices);
    MIXREC_ASSIGN_OR_RETURN(const RankedItems ranked,
                            state->projection().TopK(state->step(), states, options.k, hidden));
    for (size_t row = 0; row < indices.size(); ++row) {
      answers.Put(indices[row], ranked, static_cast<int64_t>(row));
    }
    return absl::OkStatus();
  };
  const absl::Status mine =
      RunQueries(catalogue, sequences, {options.max_items, options.max_batch_tokens, options.group},
                 state, consume);
  MIXREC_RETURN_IF_ERROR(Gather(options.group, mine, &answers));
  std::vector<std::vector<Recommendation>> lists;
  for (size_t query = 0; query < queries.size(); ++query) {
    lists.push_back(answers.List(static_cast<int64_t>(query)));
  }
  return lists;
}

}  // namespace mixrec::worker
