#include "worker/trainer.h"

#include "common/log.h"
#include "worker/memory.h"
#include "worker/run_ranks.h"
#include "worker/torch_wall.h"
#include "worker/train_options.h"
#include "worker/training_run.h"

namespace mixrec::worker {

data::BatchOptions MakeBatchOptions(const TrainOptions& options,
                                    const model::ModelOptions& model_options,
                                    const model::OptConfig& backbone) {
  data::BatchOptions batch;
  batch.seed = options.seed;
  batch.max_items = options.max_items;
  batch.queries_per_user = options.queries_per_user;
  batch.negatives = options.negatives;
  batch.inject_user = model_options.user_columns();
  batch.inject_item = model_options.item_columns();
  batch.use_contrast = model_options.lambda_cl > 0;
  batch.use_alignment = batch.use_contrast || model_options.lambda_align > 0;
  batch.use_cf = model_options.has_cf() && model_options.lambda_cf > 0 && !model_options.cf_frozen;
  batch.sequence_token = static_cast<int32_t>(backbone.vocab_size);
  batch.alignment_token = batch.sequence_token + 1;
  return batch;
}

namespace {

absl::Status CheckFrozenCf(const TrainInputs& inputs, const model::ModelOptions& model_options,
                           const TrainOptions& options) {
  if (model_options.cf_frozen != !options.cf_folder.empty()) {
    return UsageError("--cf_training=frozen and --cf=DIR (of `mixrec train-cf`) go together");
  }
  if (!model_options.cf_frozen) return absl::OkStatus();
  if (!model_options.has_cf()) {
    return UsageError("--cf_training=frozen: this --mode has no collaborative columns");
  }
  if (inputs.placement.session != nullptr) {
    return UsageError("--cf_training=frozen keeps its rows in the process; leave --ps out");
  }
  return absl::OkStatus();
}

absl::Status CheckFits(const TrainInputs& inputs, const model::ModelOptions& model_options,
                       const TrainOptions& options) {
  const model::Backbone& backbone = *inputs.backbone;
  const data::BatchOptions batch = MakeBatchOptions(options, model_options, backbone.config);
  const LargestStep step =
      LargestTrainingStep(*inputs.dataset, *inputs.catalogue, options.batch, options.max_items,
                          options.queries_per_user, options.negatives, batch.use_alignment);
  MemoryInputs memory;
  memory.backbone = backbone.config;
  memory.options = model_options;
  memory.dtype = backbone.word_embedding.scalar_type();
  memory.users = inputs.dataset->users();
  memory.items = inputs.dataset->items();
  memory.batch_tokens = step.tokens;
  memory.read_rows = step.read_rows;
  memory.servers = inputs.placement.session != nullptr;
  return CheckMemory(EstimateMemory(memory), backbone.word_embedding.device(),
                     /*backbone_loaded=*/true);
}

// What can be said before anything is allocated.
absl::Status CheckRun(const TrainInputs& inputs, const TrainOptions& options,
                      model::ModelOptions* model_options) {
  MIXREC_RETURN_IF_ERROR(CheckTrainOptions(options));
  MIXREC_RETURN_IF_ERROR(
      model::ValidateModelOptions(inputs.backbone->config.layers, model_options));
  MIXREC_RETURN_IF_ERROR(CheckFrozenCf(inputs, *model_options, options));
  if (data::TrainableUsers(*inputs.dataset).empty()) {
    return DataError("no user has two training items: there is nothing to train on");
  }
  return CheckFits(inputs, *model_options, options);
}

}  // namespace

Trainer::Trainer(OwnStream stream, std::unique_ptr<TrainingRun> run)
    : stream_(std::move(stream)), run_(std::move(run)) {}
Trainer::~Trainer() = default;

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::Create(const TrainInputs& inputs,
                                                         const model::ModelOptions& model_options,
                                                         const TrainOptions& options,
                                                         const std::string& run_folder) {
  CHECK(inputs.dataset != nullptr && inputs.catalogue != nullptr && inputs.backbone != nullptr);
  const RunRanks ranks(inputs.group);
  model::ModelOptions validated = model_options;
  MIXREC_RETURN_IF_ERROR(ranks.Agree(CheckRun(inputs, options, &validated), "the start"));
  auto trainer =
      BehindTorchWall("setting up training", [&]() -> absl::StatusOr<std::unique_ptr<Trainer>> {
        OwnStream stream(inputs.backbone->word_embedding.device());
        const StreamScope scope = stream.Enter();
        auto run = std::make_unique<TrainingRun>(inputs, validated, options, run_folder);
        MIXREC_RETURN_IF_ERROR(run->Start());
        return std::unique_ptr<Trainer>(new Trainer(std::move(stream), std::move(run)));
      });
  ranks.TellOthers(trainer.status());
  return trainer;
}

absl::StatusOr<TrainResult> Trainer::Run(const EpochCallback& on_epoch) {
  auto result = BehindTorchWall("training", [&] {
    const StreamScope scope = stream_.Enter();
    return run_->Run(on_epoch);
  });
  run_->ranks().TellOthers(result.status());
  return result;
}

int64_t Trainer::first_step() const { return run_->position().step; }
int64_t Trainer::total_steps() const { return run_->total_steps(); }
const std::vector<double>& Trainer::validation_mrr() const {
  return run_->position().validation_mrr;
}
ModelState* Trainer::state() { return run_->state(); }

}  // namespace mixrec::worker
