#include "bench/score.h"

#include <chrono>
#include <string>
#include <vector>

#include "bench/step_setup.h"
#include "data/batcher.h"
#include "worker/recommender.h"
#include "worker/step_profile.h"

namespace mixrec::bench {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<worker::RecommendationQuery> WholeHistories(const data::Dataset& dataset) {
  std::vector<worker::RecommendationQuery> queries;
  for (int32_t user = 0; user < dataset.users(); ++user) {
    const auto history = dataset.history(user);
    if (history.empty()) continue;
    worker::RecommendationQuery query;
    query.name = std::to_string(user);
    query.user = user;
    query.history.assign(history.begin(), history.end());
    queries.push_back(std::move(query));
  }
  return queries;
}

int64_t CountTokens(const data::Catalogue& catalogue,
                    const std::vector<worker::RecommendationQuery>& queries, int max_items) {
  int64_t tokens = 0;
  for (const auto& query : queries) {
    const size_t read = std::min(query.history.size(), static_cast<size_t>(max_items));
    tokens += data::SequenceTokens(
        catalogue, absl::MakeConstSpan(query.history).subspan(query.history.size() - read));
  }
  return tokens;
}

// Adapters that do something.
void Perturb(worker::ModelState* state) {
  at::Tensor values = state->parameters().flat_value();
  values.add_(at::randn_like(values), 0.01);
  state->Refresh();
}

}  // namespace

absl::StatusOr<nlohmann::json> RunScoreBench(const data::Dataset& dataset,
                                             const data::Catalogue& catalogue,
                                             const StepBenchOptions& options) {
  MIXREC_ASSIGN_OR_RETURN(const model::Backbone backbone, MakeBackbone(catalogue, options));
  model::ModelOptions model = options.model;
  MIXREC_RETURN_IF_ERROR(model::ValidateModelOptions(backbone.config.layers, &model));
  worker::ModelState state(backbone, model, dataset.users(), dataset.items());
  MIXREC_RETURN_IF_ERROR(state.Initialise(options.seed));
  Perturb(&state);
  std::vector<worker::RecommendationQuery> queries = WholeHistories(dataset);
  if (options.device.is_cpu()) queries.resize(std::min<size_t>(queries.size(), 64));
  worker::RecommendationOptions recommend;
  recommend.k = 10;
  const auto run = [&] { return Recommend(catalogue, queries, recommend, &state).status(); };
  MIXREC_RETURN_IF_ERROR(run());
  int64_t rounds = 0;
  const Clock::time_point start = Clock::now();
  double seconds = 0;
  while (rounds < 1 || seconds < options.seconds) {
    MIXREC_RETURN_IF_ERROR(run());
    ++rounds;
    seconds = std::chrono::duration<double>(Clock::now() - start).count();
  }
  if (!options.profile.empty()) {
    worker::StepProfile profile(options.device);
    MIXREC_RETURN_IF_ERROR(run());
    MIXREC_RETURN_IF_ERROR(
        profile.Finish(1, StrCat(options.profile, "/", options.shape), "score").status());
  }
  const auto users = static_cast<double>(rounds * static_cast<int64_t>(queries.size()));
  const int64_t tokens = CountTokens(catalogue, queries, recommend.max_items);
  const double tokens_per_second = static_cast<double>(rounds * tokens) / seconds;
  return nlohmann::json{
      {"shape", options.shape},
      {"device", options.device.str()},
      {"users", queries.size()},
      {"tokens", tokens},
      {"users_per_second", users / seconds},
      {"tokens_per_second", tokens_per_second},
      {"useful_gflops", 0.5 * tokens_per_second * UsefulFlopsPerToken(backbone.config) * 1e-9},
      {"seconds", seconds}};
}

}  // namespace mixrec::bench
