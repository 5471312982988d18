#include "worker/training_run.h"

#include <algorithm>
#include <cmath>
#include <future>
#include <optional>
#include <utility>

#include "common/stop_signal.h"
#include "worker/evaluator.h"
#include "worker/train_options.h"

namespace mixrec::worker {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void Add(const model::Losses& losses, model::Losses* sums) {
  sums->sequence += losses.sequence;
  sums->alignment += losses.alignment;
  sums->contrastive += losses.contrastive;
  sums->cf += losses.cf;
  sums->total += losses.total;
}

model::Losses Mean(const model::Losses& sums, int64_t steps) {
  const double n = static_cast<double>(std::max<int64_t>(1, steps));
  return {sums.sequence / n, sums.alignment / n, sums.contrastive / n, sums.cf / n, sums.total / n};
}

class EpochScope {
 public:
  explicit EpochScope(TrainStep* step) : step_(step) { step->BeginEpoch(); }
  ~EpochScope() { step_->EndEpoch(); }
  EpochScope(const EpochScope&) = delete;
  EpochScope& operator=(const EpochScope&) = delete;

 private:
  TrainStep* const step_;
};

StepOptions MakeStepOptions(const TrainOptions& options, collective::Group* group) {
  StepOptions step;
  step.group = group;
  step.optimizer.weight_decay = options.weight_decay;
  step.clip_norm = options.clip_norm;
  step.dropout_seed = options.seed;
  step.padding = options.padding;
  return step;
}

}  // namespace

TrainingRun::TrainingRun(const TrainInputs& inputs, const model::ModelOptions& model_options,
                         const TrainOptions& options, const std::string& run_folder)
    : inputs_(inputs),
      ranks_(inputs.group),
      options_(options),
      run_folder_(run_folder),
      card_(MakeModelCard(model_options, *inputs.backbone, *inputs.dataset, options.max_items)),
      batch_options_(MakeBatchOptions(options, model_options, inputs.backbone->config)),
      users_(options.train_users.empty() ? data::TrainableUsers(*inputs.dataset)
                                         : options.train_users),
      state_(*inputs.backbone, model_options, inputs.dataset->users(), inputs.dataset->items(),
             MakeStepOptions(options, nullptr).optimizer, inputs.placement),
      step_(MakeStepOptions(options, inputs.group), &state_, inputs.others),
      store_(run_folder, options.keep_last) {
  if (inputs_.hard_samples == nullptr) {
    own_hard_samples_ = std::make_unique<data::UniformNonCooccurring>(*inputs.dataset);
    inputs_.hard_samples = own_hard_samples_.get();
  }
  if (!options_.profile.empty() && ranks_.leads()) {
    profile_ = std::make_unique<RunProfile>(options_.profile, state_.device());
  }
  record_.options = DecidingOptions(options, card_, inputs.placement.sampling);
}

int64_t TrainingRun::total_steps() const {
  const auto users = static_cast<int64_t>(users_.size());
  return options_.epochs * ((users + options_.batch - 1) / options_.batch);
}

absl::StatusOr<TrainResult> TrainingRun::Run(const EpochCallback& on_epoch) {
  const Clock::time_point start = Clock::now();
  saved_at_ = Clock::now();
  MIXREC_RETURN_IF_ERROR(ranks_.OnLeader("the start of training", [this] { return OpenLog(); }));
  while (position().epoch < options_.epochs) {
    MIXREC_RETURN_IF_ERROR(TrainEpoch());
    MIXREC_ASSIGN_OR_RETURN(const EpochReport report, FinishEpoch());
    bool goes_on = !on_epoch || on_epoch(report);
    MIXREC_RETURN_IF_ERROR(ranks_.Share("whether training goes on", &goes_on));
    if (!goes_on) break;
  }
  if (options_.epochs == 0 && saved_step_ < 0) {
    MIXREC_RETURN_IF_ERROR(Save(/*best=*/true));  // the untrained model
  }
  log_.reset();
  MIXREC_ASSIGN_OR_RETURN(TrainResult result, Result());
  result.seconds = SecondsSince(start);
  return result;
}

absl::Status TrainingRun::OpenLog() {
  MIXREC_ASSIGN_OR_RETURN(
      log_, TrainingLog::Open(run_folder_,
                              {total_steps(), position().step, options_.epochs, options_.log_steps,
                               options_.tensorboard, options_.progress, options_.label}));
  return absl::OkStatus();
}

absl::StatusOr<TrainResult> TrainingRun::Result() const {
  TrainResult result;
  result.steps = position().step;
  result.epochs = static_cast<int64_t>(position().validation_mrr.size());
  result.best_epoch = position().best_epoch;
  result.best_mrr = position().best_mrr;
  result.validation_mrr = position().validation_mrr;
  MIXREC_RETURN_IF_ERROR(ranks_.OnLeader("the end of training", [&]() -> absl::Status {
    MIXREC_ASSIGN_OR_RETURN(result.best_checkpoint, FindCheckpoint(run_folder_, "best"));
    MIXREC_ASSIGN_OR_RETURN(result.last_checkpoint, FindCheckpoint(run_folder_, "last"));
    return absl::OkStatus();
  }));
  for (std::string* path : {&result.best_checkpoint, &result.last_checkpoint}) {
    MIXREC_RETURN_IF_ERROR(ranks_.Share("the checkpoints", path));
  }
  return result;
}

data::PackedBatch TrainingRun::BuildBatch(const std::vector<int32_t>& order, int64_t first) const {
  const auto size = std::min<size_t>(static_cast<size_t>(options_.batch),
                                     order.size() - static_cast<size_t>(first));
  const auto users = absl::MakeConstSpan(order).subspan(static_cast<size_t>(first), size);
  if (ranks_.several()) {
    return data::BuildSharedBatch(*inputs_.dataset, *inputs_.catalogue, *inputs_.hard_samples,
                                  batch_options_, position().epoch, users, ranks_.share());
  }
  return data::BuildTrainingBatch(*inputs_.dataset, *inputs_.catalogue, *inputs_.hard_samples,
                                  batch_options_, position().epoch, users);
}

absl::Status TrainingRun::TrainEpoch() {
  MIXREC_ASSIGN_OR_RETURN(const bool stops, ranks_.Any(ShouldStop(), "the start of an epoch"));
  if (stops) return Stop();
  const std::vector<int32_t> order = data::EpochOrder(
      options_.seed, static_cast<int64_t>(position().epoch), absl::MakeConstSpan(users_));
  const auto users = static_cast<int64_t>(order.size());
  // The batch of a step, the one after it, whose rows travel meanwhile, and the one being packed.
  int64_t packed = position().users_done;
  std::future<std::optional<data::PackedBatch>> packing;
  const auto pack_next = [&] {
    packing = std::async(std::launch::async, [this, &order, first = packed] {
      const bool last = first >= static_cast<int64_t>(order.size());
      return last ? std::nullopt : std::make_optional(BuildBatch(order, first));
    });
    packed += options_.batch;
  };
  pack_next();
  std::optional<data::PackedBatch> batch = packing.get();
  pack_next();
  const EpochScope scope(&step_);
  while (batch) {
    std::optional<data::PackedBatch> next = packing.get();
    pack_next();
    const int64_t done = std::min(users, position().users_done + options_.batch);
    const bool pauses = !next || MayPause();
    MIXREC_RETURN_IF_ERROR(
        TrainOnBatch(*batch, next ? &*next : nullptr, done - position().users_done, pauses));
    batch = std::move(next);
    if (!pauses) continue;
    if (position().step == options_.simulate_preemption) RequestStop();
    if (StopIsDue()) return Stop();
    if (CheckpointIsDue()) MIXREC_RETURN_IF_ERROR(Save(/*best=*/false));
  }
  return absl::OkStatus();
}

absl::Status TrainingRun::TrainOnBatch(const data::PackedBatch& batch,
                                       const data::PackedBatch* next, int64_t users, bool pauses) {
  TrainingPosition& at = record_.position;
  const auto rate = [&](int64_t step) {
    return tensor::CosineLearningRate(options_.learning_rate, step, total_steps(),
                                      options_.warmup_fraction);
  };
  const double learning_rate = rate(at.step);
  const auto next_rate =
      next == nullptr || pauses ? std::nullopt : std::make_optional(rate(at.step + 1));
  if (profile_ != nullptr) MIXREC_RETURN_IF_ERROR(profile_->BeforeStep(&step_));
  if (ranks_.several()) step_.set_vote({ShouldStop() ? 1.0 : 0.0, MinutesAreOver() ? 1.0 : 0.0});
  MIXREC_ASSIGN_OR_RETURN(const model::Losses losses,
                          step_.Run(batch, at.step, learning_rate, next, next_rate));
  ++at.step;
  if (!std::isfinite(losses.total)) return ranks_.Agree(NotFinite(losses), "the losses");
  at.users_done += users;
  ++at.epoch_steps;
  Add(losses, &at.epoch_sums);
  if (log_ == nullptr) return absl::OkStatus();  // rank 0 has it
  const int64_t tokens = ranks_.several() ? batch.whole.counted_tokens : batch.counted_tokens();
  return log_->Step(at.step, at.epoch + 1, learning_rate, losses, tokens, users);
}

absl::Status TrainingRun::NotFinite(const model::Losses& losses) const {
  return NotFiniteError("the loss is not finite at step ", position().step, " (epoch ",
                        position().epoch + 1, "): sequence ", losses.sequence, ", alignment ",
                        losses.alignment, ", contrastive ", losses.contrastive, ", cf ", losses.cf,
                        "; the last checkpoint is from before; try a smaller --lr or --clip_norm");
}

absl::StatusOr<EvaluationResult> TrainingRun::Validate() {
  EvaluationOptions evaluation;
  evaluation.split = data::Split::kValidation;
  evaluation.mask_seen = options_.validation_mask_seen;
  evaluation.max_items = options_.max_items;
  evaluation.max_batch_tokens = options_.evaluation_batch_tokens;
  evaluation.users = options_.validation_users;
  evaluation.progress = options_.progress;
  evaluation.group = inputs_.group;
  MIXREC_RETURN_IF_ERROR(state_.Settle());
  return Evaluate(*inputs_.dataset, *inputs_.catalogue, evaluation, &state_);
}

EpochReport TrainingRun::CloseEpoch(const data::RankingSums& validation) {
  TrainingPosition& at = record_.position;
  EpochReport report;
  report.validation = validation;
  report.losses = Mean(at.epoch_sums, at.epoch_steps);
  report.best = validation.Mrr() > at.best_mrr;
  report.epoch = ++at.epoch;
  report.step = at.step;
  at.users_done = at.epoch_steps = 0;
  at.epoch_sums = {};
  at.validation_mrr.push_back(validation.Mrr());
  if (report.best) {
    at.best_mrr = validation.Mrr();
    at.best_epoch = report.epoch;
  }
  return report;
}

absl::StatusOr<EpochReport> TrainingRun::FinishEpoch() {
  const absl::StatusOr<EvaluationResult> validation = Validate();
  const absl::Status status = ranks_.Agree(validation.status(), "the validation");
  if (absl::IsCancelled(status)) return Stop();
  MIXREC_RETURN_IF_ERROR(status);
  const EpochReport report = CloseEpoch(validation->sums);
  if (log_ != nullptr) MIXREC_RETURN_IF_ERROR(log_->Epoch(report));
  MIXREC_RETURN_IF_ERROR(Save(report.best));
  return report;
}

}  // namespace mixrec::worker
