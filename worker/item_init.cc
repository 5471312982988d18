#include "worker/item_init.h"

#include <cmath>
#include <numeric>
#include <vector>

#include "common/log.h"
#include "worker/query_runner.h"

namespace mixrec::worker {

absl::Status FillWithItemStates(const data::Catalogue& catalogue, ModelState* state,
                                at::Tensor rows) {
  CHECK_EQ(catalogue.items(), state->items());
  CHECK_EQ(rows.size(0), state->items());
  std::vector<int32_t> items(static_cast<size_t>(catalogue.items()));
  std::iota(items.begin(), items.end(), 0);
  std::vector<data::EvaluationQuery> queries;
  queries.reserve(items.size());
  for (const int32_t& item : items) queries.push_back({-1, absl::MakeConstSpan(&item, 1)});

  const auto place = [&](absl::Span<const int32_t> indices, const at::Tensor& states) {
    const std::vector<int64_t> ids(indices.begin(), indices.end());
    rows.index_copy_(0, at::tensor(ids, at::kLong).to(rows.device()), states.to(at::kFloat));
    return absl::OkStatus();
  };
  MIXREC_RETURN_IF_ERROR(RunQueries(catalogue, queries, {}, state, place));
  rows.sub_(rows.mean(0, /*keepdim=*/true));
  const at::Tensor norms = at::linalg_vector_norm(rows, 2, {1}, /*keepdim=*/true).clamp_min(1e-12);
  rows.div_(norms).mul_(0.02 * std::sqrt(static_cast<double>(rows.size(1))));
  return absl::OkStatus();
}

}  // namespace mixrec::worker
