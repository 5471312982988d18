#include "bench/candidates.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "bench/step_setup.h"
#include "common/random.h"
#include "worker/own_stream.h"
#include "worker/side_by_side.h"
#include "worker/train_step.h"

namespace mixrec::bench {
namespace {

using Clock = std::chrono::steady_clock;

// A model in training, alone or with others.
class Candidate {
 public:
  Candidate(const data::Dataset& dataset, const data::Catalogue& catalogue,
            const model::Backbone& backbone, const StepBenchOptions& options, int number,
            worker::SideBySide* others)
      : stream_(options.device), options_(options) {
    const worker::StreamScope scope = stream_.Enter();
    for (size_t bit = 0; bit < options_.model.architecture.size(); ++bit) {
      const bool parallel =
          HashKey(options.seed, "candidate", static_cast<uint64_t>(number), bit) % 2 == 1;
      options_.model.architecture[bit] = parallel ? '1' : '0';
    }
    batches_ = std::make_unique<BatchStream>(dataset, catalogue,
                                             BatchOptionsOf(backbone.config, options_), options_);
    state_ = std::make_unique<worker::ModelState>(backbone, options_.model, dataset.users(),
                                                  dataset.items());
    step_ = std::make_unique<worker::TrainStep>(worker::StepOptions(), state_.get(), others);
  }
  // Steps until the number of steps or the moment is reached, whichever comes last; returns how
  // many.
  absl::StatusOr<int64_t> Train(int64_t least, Clock::time_point until) {
    const worker::StreamScope scope = stream_.Enter();
    if (steps_ == 0) MIXREC_RETURN_IF_ERROR(state_->Initialise(options_.seed));
    step_->BeginEpoch();
    int64_t done = 0;
    for (; done < least || Clock::now() < until; ++done) {
      MIXREC_RETURN_IF_ERROR(
          step_->Run(batches_->current(), steps_++, 5e-5, &batches_->next()).status());
      batches_->Advance();
    }
    step_->EndEpoch();
    return done;
  }

 private:
  const worker::OwnStream stream_;
  StepBenchOptions options_;
  std::unique_ptr<BatchStream> batches_;
  std::unique_ptr<worker::ModelState> state_;
  std::unique_ptr<worker::TrainStep> step_;
  int64_t steps_ = 0;
};

// Users a second of all candidates, each in a thread, after a warm-up.
absl::StatusOr<double> Measure(const std::vector<std::unique_ptr<Candidate>>& candidates,
                               const StepBenchOptions& options) {
  const auto run = [&](int64_t least, double seconds) -> absl::StatusOr<int64_t> {
    const auto until = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                          std::chrono::duration<double>(seconds));
    std::vector<absl::StatusOr<int64_t>> done(candidates.size());
    std::vector<std::thread> threads;
    for (size_t i = 0; i < candidates.size(); ++i) {
      threads.emplace_back([&, i] { done[i] = candidates[i]->Train(least, until); });
    }
    for (std::thread& thread : threads) thread.join();
    int64_t steps = 0;
    for (const auto& one : done) {
      MIXREC_RETURN_IF_ERROR(one.status());
      steps += *one;
    }
    return steps;
  };
  MIXREC_RETURN_IF_ERROR(run(options.device.is_cpu() ? 2 : 100, 0).status());
  const Clock::time_point start = Clock::now();
  MIXREC_ASSIGN_OR_RETURN(const int64_t steps, run(1, options.seconds));
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return static_cast<double>(steps * options.batch) / seconds;
}

}  // namespace

absl::StatusOr<nlohmann::json> RunCandidatesBench(const data::Dataset& dataset,
                                                  const data::Catalogue& catalogue,
                                                  const StepBenchOptions& options, int candidates) {
  MIXREC_ASSIGN_OR_RETURN(const model::Backbone backbone, MakeBackbone(catalogue, options));
  StepBenchOptions validated = options;
  MIXREC_RETURN_IF_ERROR(model::ValidateModelOptions(backbone.config.layers, &validated.model));
  if (static_cast<int64_t>(data::TrainableUsers(dataset).size()) < options.batch) {
    return UsageError("--batch=", options.batch, " is more than the data set's trainable users");
  }
  const auto measure = [&](int count, worker::SideBySide* others) {
    std::vector<std::unique_ptr<Candidate>> models;
    for (int i = 0; i < count; ++i) {
      models.push_back(
          std::make_unique<Candidate>(dataset, catalogue, backbone, validated, i, others));
    }
    return Measure(models, validated);
  };
  worker::SideBySide others(options.device, candidates);
  MIXREC_ASSIGN_OR_RETURN(const double alone, measure(1, nullptr));
  MIXREC_ASSIGN_OR_RETURN(const double together, measure(candidates, &others));
  return nlohmann::json{{"shape", options.shape},          {"device", options.device.str()},
                        {"batch", options.batch},          {"candidates", candidates},
                        {"alone_users_per_second", alone}, {"together_users_per_second", together},
                        {"speedup", together / alone}};
}

}  // namespace mixrec::bench
