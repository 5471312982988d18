// What the benchmarks of training and scoring have in common: a random backbone of a shape, and
// batches packed while steps run.
#pragma once

#include <cstdint>
#include <future>
#include <vector>

#include "bench/step.h"
#include "common/status.h"
#include "data/batcher.h"
#include "data/hard_samples.h"
#include "model/backbone.h"

namespace mixrec::bench {

// On the options' device. Its vocabulary holds every token of the catalogue.
absl::StatusOr<model::Backbone> MakeBackbone(const data::Catalogue& catalogue,
                                             const StepBenchOptions& options);

// The batches of epoch after epoch, packed on a thread of its own two steps ahead, as training
// does.
class BatchStream {
 public:
  BatchStream(const data::Dataset& dataset, const data::Catalogue& catalogue,
              const data::BatchOptions& batch_options, const StepBenchOptions& options);

  // Seconds spent in waiting for a batch so far.
  double waited_seconds() const { return waited_seconds_; }
  // Whether there are too few users for a batch.
  bool empty() const { return static_cast<int64_t>(users_.size()) < batch_; }
  // The batch of this step and the one after it.
  const data::PackedBatch& current() const { return current_; }
  const data::PackedBatch& next() const { return next_; }
  void Advance();

 private:
  void StartPacking();
  data::PackedBatch Pack();

  const data::Dataset& dataset_;
  const data::Catalogue& catalogue_;
  const data::UniformNonCooccurring hard_samples_;
  const data::BatchOptions batch_options_;
  const uint64_t seed_;
  const int64_t batch_;
  collective::Group* const group_;
  const std::vector<int32_t> users_;
  std::vector<int32_t> order_;
  int64_t epoch_ = -1, first_ = 0;
  double waited_seconds_ = 0;
  data::PackedBatch current_, next_;
  std::future<data::PackedBatch> packing_;
};

data::BatchOptions BatchOptionsOf(const model::OptConfig& config, const StepBenchOptions& options);

}  // namespace mixrec::bench
