// The start of the item projection (model.md D29).
#pragma once

#include "common/status.h"
#include "data/catalogue.h"
#include "worker/model_state.h"

namespace mixrec::worker {

// Writes into `rows` [I, D] fp32 the untrained model's own [SEQ] states of every item, read as a
// sequence of one item: centred, L2-normalised, times .02 sqrt(D). StoppedError on request.
absl::Status FillWithItemStates(const data::Catalogue& catalogue, ModelState* state,
                                at::Tensor rows);

}  // namespace mixrec::worker
