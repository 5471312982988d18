#include "worker/query_runner.h"

#include <algorithm>

#include "common/stop_signal.h"

namespace mixrec::worker {
namespace {

constexpr int64_t kCpuBatchTokens = 4096, kGpuBatchTokens = 65536;
constexpr int64_t kScoreElements = int64_t{1} << 25;  // 128 MiB of fp32 scores at once

data::BatchOptions SequenceOptions(const ModelState& state, int max_items) {
  data::BatchOptions options;
  options.max_items = max_items;
  options.inject_user = state.options().user_columns();
  options.inject_item = state.options().item_columns();
  options.sequence_token = static_cast<int32_t>(state.backbone().config.vocab_size);
  options.alignment_token = options.sequence_token + 1;
  return options;
}

}  // namespace

absl::Status RunQueries(
    const data::Catalogue& catalogue, const std::vector<data::EvaluationQuery>& queries,
    const QueryRunnerOptions& options, ModelState* state,
    const std::function<absl::Status(absl::Span<const int32_t>, const at::Tensor&)>& consume) {
  const data::BatchOptions batch_options = SequenceOptions(*state, options.max_items);
  const bool on_cpu = state->device().is_cpu();
  const int64_t max_tokens = options.max_batch_tokens > 0 ? options.max_batch_tokens
                             : on_cpu                     ? kCpuBatchTokens
                                                          : kGpuBatchTokens;
  std::vector<int64_t> lengths;
  lengths.reserve(queries.size());
  for (const auto& query : queries) lengths.push_back(SequenceTokens(catalogue, query.items));
  const int64_t max_states = std::max<int64_t>(1, kScoreElements / state->items());

  for (const std::vector<int32_t>& chosen : data::PlanBatchesByTokens(lengths, max_tokens)) {
    if (StopRequested()) return StoppedError("stopped on request");
    std::vector<data::EvaluationQuery> part;
    part.reserve(chosen.size());
    for (const int32_t index : chosen) part.push_back(queries[static_cast<size_t>(index)]);
    const data::PackedBatch batch = data::BuildEvaluationBatch(catalogue, batch_options, part);
    MIXREC_ASSIGN_OR_RETURN(const model::CfRows rows, state->PullRows(batch));
    const model::States states = state->network().Forward(batch, rows, /*training=*/false);
    if (!states.sequence.isfinite().all().item<bool>()) {
      return FailureError(
          "the model's states are not finite: it has diverged, or the precision is "
          "too low for this backbone");
    }
    const auto count = static_cast<int64_t>(chosen.size());
    for (int64_t first = 0; first < count; first += max_states) {
      const int64_t size = std::min(max_states, count - first);
      MIXREC_RETURN_IF_ERROR(consume(absl::MakeConstSpan(chosen).subspan(static_cast<size_t>(first),
                                                                         static_cast<size_t>(size)),
                                     states.sequence.narrow(0, first, size)));
    }
  }
  return absl::OkStatus();
}

}  // namespace mixrec::worker
