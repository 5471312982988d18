// Training: epochs over the users, validation, checkpoints, metrics; stops and resumes at any step
// (docs/training.md).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "collective/group.h"
#include "common/status.h"
#include "data/batcher.h"
#include "data/catalogue.h"
#include "data/dataset.h"
#include "data/hard_samples.h"
#include "model/backbone.h"
#include "model/mixrec_model.h"
#include "model/options.h"
#include "worker/evaluator.h"
#include "worker/own_stream.h"
#include "worker/placement.h"
#include "worker/side_by_side.h"
#include "worker/step_options.h"

namespace mixrec::worker {

enum class ItemInit {
  kRandom,  // N(0, .02^2)
  kStates,  // the untrained model's own states of the items (model.md D29)
};
// "random" or "states"; UsageError otherwise.
absl::StatusOr<ItemInit> ParseItemInit(const std::string& text);

// Defaults are the paper's (Sec. 3.1.4).
struct TrainOptions {
  int64_t epochs = 40;
  int64_t batch = 6;  // sequences of a step
  double learning_rate = 5e-5;
  double warmup_fraction = 0.06;
  double weight_decay = 0.01;
  double clip_norm = 0;
  uint64_t seed = 1;
  int queries_per_user = 1;  // n_s
  int negatives = 5;         // n_cl
  int max_items = 50;        // of a sequence, the last ones
  ItemInit item_init = ItemInit::kRandom;
  std::string cf_folder;  // of cf_training.h, for a model whose CF rows are frozen

  // Empty: all users with two training items; all users.
  std::vector<int32_t> train_users, validation_users;
  bool validation_mask_seen = false;
  int64_t evaluation_batch_tokens = 0;  // 0: chosen by the device

  int keep_last = 1;
  int64_t log_steps = 10;           // a metrics record every so many steps
  double checkpoint_minutes = 10;   // a checkpoint at least so often; 0: at epochs only
  int64_t checkpoint_steps = 0;     // and every so many steps; 0: never
  int64_t simulate_preemption = 0;  // act as if SIGTERM came after this step; 0: never
  bool tensorboard = true;
  bool progress = true;
  StepPadding padding = StepPadding::kOnGpu;
  std::string profile;  // folder for a profile of some steps (run_profile.h); empty: none
  std::string label;    // before the progress line and log messages: who trains what
  // Asked after every step, besides common/stop_signal.h: whether this run is to stop.
  std::function<bool()> stop;

  std::string resume;  // empty: the run's newest checkpoint if there is one; or a checkpoint's path
  // Resume although these options differ from the checkpoint's (the caller has compared them).
  bool allow_changed_options = false;
};

// Everything must outlive the trainer.
struct TrainInputs {
  const data::Dataset* dataset = nullptr;
  const data::Catalogue* catalogue = nullptr;
  const model::Backbone* backbone = nullptr;  // its device and dtype are where the model computes
  const data::HardSampleSource* hard_samples = nullptr;  // null: uniform, never co-occurring
  Placement placement;                                   // of the item projection and the CF tables
  // The ranks that train one model together, each with inputs of its own; null: this process alone.
  // Run folder and checkpoints are rank 0's. A step's users are shared out among the ranks, and
  // losses and results are those of one process that has them all.
  collective::Group* group = nullptr;
  SideBySide* others = nullptr;  // trainings in other threads whose steps it shares; null: none
};

// After every epoch, once its checkpoint is safe.
struct EpochReport {
  int64_t epoch = 0;  // finished, counted from 1
  int64_t step = 0;
  model::Losses losses;  // means over the epoch's steps
  data::RankingSums validation;
  bool best = false;
};

struct TrainResult {
  int64_t steps = 0, epochs = 0;
  int64_t best_epoch = 0;                        // counted from 1
  double best_mrr = 0;                           // validation
  std::vector<double> validation_mrr;            // by epoch, since the start of the run
  std::string best_checkpoint, last_checkpoint;  // folders
  double seconds = 0;                            // of this process
};

// Returns whether to go on; false ends the run as if it had been the last epoch.
using EpochCallback = std::function<bool(const EpochReport&)>;

class TrainingRun;

class Trainer {
 public:
  // Validates the options, checks that the run fits in memory (MemoryError with the figures),
  // allocates the model and loads the checkpoint to resume, if there is one.
  // `run_folder` must exist; metrics.jsonl, tensorboard/ and checkpoints/ are written into it.
  static absl::StatusOr<std::unique_ptr<Trainer>> Create(const TrainInputs& inputs,
                                                         const model::ModelOptions& model_options,
                                                         const TrainOptions& options,
                                                         const std::string& run_folder);
  ~Trainer();

  // Trains to the end. StoppedError after a stop request, with a checkpoint written: the same call
  // goes on from there, bit-equal on the CPU. FailureError naming step and loss parts when a loss
  // is not finite. Out of memory is a MemoryError. With a group, all ranks call it and have the
  // same result; whoever fails ends the others with his reason and name. `on_epoch` of rank 0
  // decides.
  absl::StatusOr<TrainResult> Run(const EpochCallback& on_epoch = nullptr);

  // The step it will start from; 0 for a new run.
  int64_t first_step() const;
  int64_t total_steps() const;
  // Validation MRR of the epochs finished so far, those before a resume included.
  const std::vector<double>& validation_mrr() const;
  ModelState* state();

 private:
  Trainer(OwnStream stream, std::unique_ptr<TrainingRun> run);
  const OwnStream stream_;  // trainings in several threads run side by side on a GPU
  std::unique_ptr<TrainingRun> run_;
};

// The batches that these options and model make.
data::BatchOptions MakeBatchOptions(const TrainOptions& options,
                                    const model::ModelOptions& model_options,
                                    const model::OptConfig& backbone);

}  // namespace mixrec::worker
