#include "worker/evaluator.h"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "common/file.h"
#include "common/progress.h"
#include "worker/query_runner.h"

namespace mixrec::worker {
namespace {

using Json = nlohmann::ordered_json;

std::vector<int32_t> AllUsers(const data::Dataset& dataset) {
  std::vector<int32_t> users(static_cast<size_t>(dataset.users()));
  std::iota(users.begin(), users.end(), 0);
  return users;
}

// The items of the users' whole input histories.
ItemLists SeenItems(const data::Dataset& dataset, const EvaluationResult& result,
                    absl::Span<const int32_t> indices) {
  ItemLists seen;
  seen.reserve(indices.size());
  for (const int32_t index : indices) {
    const int32_t user = result.users[static_cast<size_t>(index)];
    const auto whole = static_cast<int>(dataset.history(user).size());
    const auto items = data::EvaluationInput(dataset, user, result.options.split, whole);
    seen.emplace_back(items.begin(), items.end());
  }
  return seen;
}

// Ranks of one batch's targets, written into result->ranks.
absl::Status RankBatch(const data::Dataset& dataset, absl::Span<const int32_t> indices,
                       const at::Tensor& states, ModelState* state, EvaluationResult* result) {
  std::vector<int32_t> targets;
  for (const int32_t index : indices) {
    targets.push_back(
        dataset.target(result->users[static_cast<size_t>(index)], result->options.split));
  }
  ItemLists seen;
  if (result->options.mask_seen) seen = SeenItems(dataset, *result, indices);
  MIXREC_ASSIGN_OR_RETURN(const std::vector<int64_t> ranks,
                          state->projection().Ranks(state->step(), states, targets, seen));
  for (size_t row = 0; row < indices.size(); ++row) {
    result->ranks[static_cast<size_t>(indices[row])] = ranks[row];
  }
  return absl::OkStatus();
}

// What each rank of a group has found, on all of them. The sums of the metrics are then taken as by
// one process.
absl::Status GatherRanks(const absl::Status& mine, EvaluationResult* result) {
  collective::Group* const group = result->options.group;
  if (group == nullptr || collective::IsAgreed(mine)) return mine;
  const std::string what = StrCat("the ", SplitName(result->options.split), " ranks of all users");
  MIXREC_RETURN_IF_ERROR(collective::Agree(group, mine, what));
  const auto users = static_cast<int64_t>(result->ranks.size());
  return group->AllReduce(at::from_blob(result->ranks.data(), {users}, at::kLong), what);
}

}  // namespace

const char* SplitName(data::Split split) {
  return split == data::Split::kValidation ? "validation" : "test";
}

absl::StatusOr<EvaluationResult> Evaluate(const data::Dataset& dataset,
                                          const data::Catalogue& catalogue,
                                          const EvaluationOptions& options, ModelState* state) {
  const auto start = std::chrono::steady_clock::now();
  EvaluationResult result;
  result.options = options;
  result.candidates = dataset.items();
  result.users = options.users.empty() ? AllUsers(dataset) : options.users;
  result.ranks.assign(result.users.size(), 0);
  std::vector<data::EvaluationQuery> queries;
  queries.reserve(result.users.size());
  for (const int32_t user : result.users) {
    queries.push_back(
        {user, data::EvaluationInput(dataset, user, options.split, options.max_items)});
  }
  ProgressOptions progress_options;
  progress_options.name = StrCat("evaluate ", SplitName(options.split));
  progress_options.total = static_cast<int64_t>(queries.size());
  progress_options.silent_when_short = true;
  const int ranks = options.group == nullptr ? 1 : options.group->size();
  const int rank = options.group == nullptr ? 0 : options.group->rank();
  if (!options.progress || rank > 0) progress_options.write = [](std::string_view) {};
  Progress progress(progress_options);
  int64_t done = 0;
  const auto consume = [&](absl::Span<const int32_t> indices, const at::Tensor& states) {
    const absl::Status status = RankBatch(dataset, indices, states, state, &result);
    done += static_cast<int64_t>(indices.size());
    progress.Update(std::min(done * ranks, progress_options.total), "users");
    return status;
  };
  const absl::Status mine =
      RunQueries(catalogue, queries, {options.max_items, options.max_batch_tokens, options.group},
                 state, consume);
  MIXREC_RETURN_IF_ERROR(GatherRanks(mine, &result));
  progress.Finish();
  for (const int64_t rank : result.ranks) result.sums.Add(rank);
  const auto elapsed = std::chrono::steady_clock::now() - start;
  result.seconds = std::chrono::duration<double>(elapsed).count();
  return result;
}

Json ToJson(const EvaluationResult& result) {
  Json metrics = Json::object();
  for (const int cutoff : {10, 5, 20}) {
    metrics[StrCat("NDCG@", cutoff)] = result.sums.Ndcg(cutoff);
    metrics[StrCat("Recall@", cutoff)] = result.sums.Recall(cutoff);
  }
  metrics["MRR"] = result.sums.Mrr();
  const Json protocol{{"split", "leave-one-out"},
                      {"ranking", "full"},
                      {"candidates", result.candidates},
                      {"seen_items", result.options.mask_seen ? "masked" : "kept"},
                      {"ties", "smaller item index first"},
                      {"max_items", result.options.max_items}};
  return {{"split", SplitName(result.options.split)},
          {"metrics", metrics},
          {"protocol", protocol},
          {"users", result.sums.users}};
}

std::string ProtocolText(const EvaluationResult& result) {
  return StrCat("leave-one-out, ", SplitName(result.options.split), " item; full ranking over ",
                result.candidates, " items, seen items ",
                result.options.mask_seen ? "masked" : "kept",
                ", ties by smaller item index, the last ", result.options.max_items, " items read");
}

absl::Status WriteRanks(const data::Dataset& dataset, const EvaluationResult& result,
                        const std::string& path) {
  std::string text;
  for (size_t k = 0; k < result.users.size(); ++k) {
    text += StrCat(dataset.user_id(result.users[k]), "\t", result.ranks[k], "\n");
  }
  return WriteFileAtomic(path, text);
}

}  // namespace mixrec::worker
