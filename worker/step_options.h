// What a train step depends on besides the model.
#pragma once

#include <cstdint>

#include "collective/group.h"
#include "tensor/optimizer.h"

namespace mixrec::worker {

// Whether steps are made on batches that are padded to a few shapes (batch_places.h). On a GPU that
// lets them be captured and replayed; on a CPU it only costs.
enum class StepPadding { kOnGpu, kAlways, kNever };

struct StepOptions {
  tensor::AdamWOptions optimizer;
  // Of the gradients that ranks reduce, 0: none. The item projection and the rows of tables neither
  // count nor are clipped, wherever they live (model.md D30).
  double clip_norm = 0;
  uint64_t dropout_seed = 0;  // dropout is keyed by (seed, step, document) (D26)
  // The ranks that share every step, this one among them; null: this process alone. Batches are
  // data/step_share.h's then.
  collective::Group* group = nullptr;
  StepPadding padding = StepPadding::kOnGpu;
};

}  // namespace mixrec::worker
