// The start of the item projection (model.md D29).
#pragma once

#include "common/status.h"
#include "data/catalogue.h"
#include "worker/model_state.h"

namespace mixrec::worker {

// Starts the item projection's rows at the untrained model's own [SEQ] states of every item, read
// as a sequence of one item: centred, L2-normalised, times .02 sqrt(D). StoppedError on request.
absl::Status InitialiseItemsFromStates(const data::Catalogue& catalogue, ModelState* state);

}  // namespace mixrec::worker
