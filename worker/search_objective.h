// What the architecture search maximises (search.md): validation MRR of a model with a given
// architecture, trained and scored on b % of the users (Data_BO, paper Sec. 2.3.3; model.md D32).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/status.h"
#include "model/options.h"
#include "worker/trainer.h"

namespace mixrec::worker {

struct SearchObjectiveOptions {
  // Of a trial: epochs = trial epochs; its user subsets, checkpoints and resume are set here.
  TrainOptions train;
  double fraction = 0.2;  // b %, of the users that can be trained on
  std::string folder;     // trials work in FOLDER/trial-N
};

// An attempt at a trial.
struct TrialSpec {
  int number = 0;
  std::string bits;
  int replicate = 0;           // another seed of training, on the same users
  int replace_every = 0;       // r, where it is searched; 0: the model options'
  int64_t bottleneck = 0;      // likewise
  std::string folder;          // empty: FOLDER/trial-N
  std::string label;           // TrainOptions::label
  std::function<bool()> stop;  // TrainOptions::stop
  Placement placement;         // of its tables
};

struct TrialOutcome {
  double value = 0;  // the best epoch's validation MRR
  int64_t epochs = 0;
  double seconds = 0;  // of this process
};

class SearchObjective {
 public:
  // Data, catalogue and backbone are shared by all trials. `model_options` without architecture.
  // With a group, its ranks train every trial together: all call Evaluate for the same trials in
  // the same order; rank 0 has the trials' folder, and its `on_epoch` decides.
  SearchObjective(const TrainInputs& inputs, const model::ModelOptions& model_options,
                  SearchObjectiveOptions options);

  // Trains and scores one trial. A trial that was stopped goes on from its checkpoint; one that
  // had finished returns what it returned before. `on_epoch` gets (epoch from 1, MRR) for every
  // epoch, those before a resume included; it may return false to end the trial there. Errors are
  // Trainer's: StoppedError means the search should end.
  using IntermediateCallback = std::function<bool(int epoch, double mrr)>;
  // Calls from several threads for different folders may run beside each other.
  absl::StatusOr<TrialOutcome> Evaluate(const TrialSpec& trial,
                                        const IntermediateCallback& on_epoch = nullptr) const;
  absl::StatusOr<TrialOutcome> Evaluate(int trial, const std::string& bits,
                                        const IntermediateCallback& on_epoch = nullptr) const;

  std::string FolderOf(int trial) const { return StrCat(options_.folder, "/trial-", trial); }
  // Users of Data_BO, ascending.
  const std::vector<int32_t>& users() const { return users_; }

 private:
  TrainOptions TrainOptionsOf(const TrialSpec& trial) const;

  TrainInputs inputs_;
  model::ModelOptions model_options_;
  SearchObjectiveOptions options_;
  std::vector<int32_t> users_;
};

}  // namespace mixrec::worker
