// The order in which pre-training sees its tokens. Private to the room.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "common/random.h"
#include "model/pretrain.h"

namespace mixrec::model {

// One step's sequences: B <= options.batch rows of T tokens.
struct PretrainBatch {
  at::Tensor inputs;     // [B, T] int64
  at::Tensor targets;    // [B, T] int64: the tokens that follow
  at::Tensor positions;  // [B, T] int64, rows of the position table
};

// Where in the position table a sequence starts: 0, or (with offset_probability) anywhere that
// leaves room for its tokens.
int64_t PositionOffset(const PretrainOptions& options, int64_t tokens, RandomStream* random);

// Everything is a pure function of (seed, epoch, step), so a resumed run sees the same batches.
class PretrainBatches {
 public:
  // Keeps a reference to the documents.
  PretrainBatches(const PretrainOptions& options,
                  const std::vector<std::vector<int32_t>>& documents);

  int64_t steps_per_epoch() const { return steps_per_epoch_; }
  int64_t context() const { return context_; }
  // The batch of a step counted from 0 over all epochs.
  PretrainBatch At(int64_t step);

 private:
  void StartEpoch(int64_t epoch);

  const PretrainOptions& options_;
  const std::vector<std::vector<int32_t>>& documents_;
  int64_t tokens_ = 0;     // of the joined documents
  int64_t context_ = 0;    // T
  int64_t sequences_ = 0;  // an epoch
  int64_t steps_per_epoch_ = 0;
  int64_t epoch_ = -1;
  std::vector<int32_t> stream_;  // of epoch_
};

}  // namespace mixrec::model
