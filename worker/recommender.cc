#include "worker/recommender.h"

#include <algorithm>
#include <limits>

#include "tensor/from_host.h"
#include "tensor/softmax.h"
#include "worker/query_runner.h"

namespace mixrec::worker {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

void HideSeen(const std::vector<RecommendationQuery>& queries, absl::Span<const int32_t> indices,
              at::Tensor scores) {
  for (size_t row = 0; row < indices.size(); ++row) {
    const std::vector<int32_t>& history = queries[static_cast<size_t>(indices[row])].history;
    const at::Tensor seen = tensor::IndexTensor(history, scores.device());
    scores[static_cast<int64_t>(row)].index_fill_(0, seen, kLowest);
  }
}

std::vector<Recommendation> OneList(const at::Tensor& items, const at::Tensor& scores) {
  std::vector<Recommendation> list;
  for (int64_t k = 0; k < items.numel(); ++k) {
    const float score = scores[k].item<float>();
    if (score == kLowest) break;  // seen: nothing else is left
    list.push_back({static_cast<int32_t>(items[k].item<int64_t>()), score});
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
  const auto consume = [&](absl::Span<const int32_t> indices, const at::Tensor& states) {
    const at::Tensor scores = state->ItemScores(states);
    if (!options.keep_seen) HideSeen(queries, indices, scores);
    const auto [items, best] = tensor::TopK(scores, options.k);
    const at::Tensor host_items = items.cpu(), host_best = best.cpu();
    for (size_t row = 0; row < indices.size(); ++row) {
      lists[static_cast<size_t>(indices[row])] =
          OneList(host_items[static_cast<int64_t>(row)], host_best[static_cast<int64_t>(row)]);
    }
    return absl::OkStatus();
  };
  MIXREC_RETURN_IF_ERROR(RunQueries(catalogue, sequences,
                                    {options.max_items, options.max_batch_tokens}, state, consume));
  return lists;
}

}  // namespace mixrec::worker
