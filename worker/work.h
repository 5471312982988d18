// How much computing a run will take, told before it is begun.
#pragma once

#include <string>

#include "data/catalogue.h"
#include "data/dataset.h"
#include "model/backbone.h"
#include "model/options.h"

namespace mixrec::worker {

// Stream rows that pass through the layers, rows of [SEQ] and [ALIGN] whose states are read, and
// pairs of a query and a key it attends to: those before it in its document (causal), and those of
// its own item with its columns (context).
struct RowCounts {
  double rows = 0, read = 0, causal = 0, context = 0;
  double ranked = 0;  // of the rows read, those that are compared with all items
};

struct WorkInputs {
  model::OptConfig backbone;
  model::ModelOptions options;
  double items = 0;
  RowCounts trained, scored;
};

// FLOPs, a multiplication and an addition being two: of the products and the attention, which are
// nearly all there is. Closed forms over shapes. What is trained counts forwards and backwards,
// where frozen weights have an input gradient alone; what is scored, forwards, with linear serial
// adapters folded into the frozen weights.
struct WorkEstimate {
  double frozen = 0;    // products with the backbone's weights
  double adapters = 0;  // and gates
  double attention = 0;
  double items = 0;  // scores of all items
  double total() const { return frozen + adapters + attention + items; }
};
WorkEstimate EstimateWork(const WorkInputs& inputs);

// "1.2 TFLOP: frozen weights 0.9 TFLOP, adapters ..."
std::string Describe(const WorkEstimate& estimate);

// What an epoch over all users trains on, and what a validation of all scores.
RowCounts TrainedRows(const data::Dataset& dataset, const data::Catalogue& catalogue, int max_items,
                      int queries_per_user, int negatives, bool alignment);
RowCounts ScoredRows(const data::Dataset& dataset, const data::Catalogue& catalogue, int max_items);

// So many times as much.
RowCounts Times(const RowCounts& counts, double factor);

}  // namespace mixrec::worker
