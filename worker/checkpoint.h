// Checkpoints of a run: RUN/checkpoints/step-N/, with the links `best` and `last` beside them
// (docs/checkpoints.md).
//
// A checkpoint is written into a temporary folder and renamed when everything, manifest.json last,
// is on disk. One without a valid manifest does not exist: it is passed over.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "data/dataset.h"
#include "model/backbone.h"
#include "worker/model_card.h"
#include "worker/model_state.h"

namespace mixrec::worker {

// RUN/checkpoints.
std::string CheckpointsFolder(const std::string& run_folder);

// The folder of a run's checkpoint: "best" (highest validation MRR), "last" (the newest valid one)
// or the path of a checkpoint. DataError when there is none or when it is damaged.
absl::StatusOr<std::string> FindCheckpoint(const std::string& run_folder, const std::string& which);

// A trained model out of a checkpoint's folder.
struct LoadedModel {
  ModelCard card;
  std::unique_ptr<ModelState> state;
  int64_t step = 0, epoch = 0;
};
// Checks that the data set has the checkpoint's items in its order and that the backbone is its
// own; DataError with both hashes otherwise. Keeps a reference to the backbone. With servers, their
// tables are filled; `scratch` names a folder that they see too, which is made and removed. Where
// it is empty, another rank has filled them.
absl::StatusOr<LoadedModel> LoadModel(const std::string& checkpoint,
                                      const model::Backbone& backbone, const data::Dataset& dataset,
                                      const Placement& placement = {},
                                      const std::string& scratch = "");

// Reads model.json alone, without the weights.
absl::StatusOr<ModelCard> ReadModelCard(const std::string& checkpoint);

// Writes, finds and prunes the checkpoints of one run. What is in them is the caller's.
class CheckpointStore {
 public:
  // `keep_last`: how many of the newest are kept, at least 1; the best one is always kept.
  CheckpointStore(std::string run_folder, int keep_last);

  using Writer = std::function<absl::Status(const std::string& folder)>;
  // Writes a new checkpoint, points `last` (and `best`) to it and deletes what is not kept. On
  // failure (a full disk) the older ones are as they were. Returns its folder.
  absl::StatusOr<std::string> Save(int64_t step, bool best, const Writer& write);

  // What `last` points to, or, where that is damaged, the newest valid checkpoint; empty when there
  // is none.
  absl::StatusOr<std::string> Newest() const;

 private:
  absl::Status Link(const std::string& name, const std::string& link);
  absl::Status Prune();

  std::string folder_;
  int keep_last_;
};

// Sizes and hashes of a folder's files into manifest.json; and whether they (still) hold.
absl::Status WriteManifest(const std::string& folder);
absl::Status CheckManifest(const std::string& folder);

}  // namespace mixrec::worker
