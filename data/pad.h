// Batches of equal shape from batches of any: what a captured step (worker/step_graphs.h) replays.
// Padding is data, not a special case: rows of documents that nothing reads, reads, queries and
// pairs of weight zero. Losses and gradients are those of the batch.
#pragma once

#include <cstdint>
#include <tuple>

#include "data/packed_batch.h"

namespace mixrec::data {

struct BatchShape {
  int64_t rows = 0;                            // T
  int64_t reads = 0;                           // P + A
  int64_t user_ids = 0, item_ids = 0;          // rows of the tables
  int64_t user_columns = 0, item_columns = 0;  // of them
  int64_t queries = 0, pairs = 0;              // contrastive, BPR

  bool operator==(const BatchShape& other) const;
  // Whether a batch of this shape can be padded to the other: it fits, and padding rows are enough
  // for the padding reads.
  bool FitsInto(const BatchShape& other) const;
};

BatchShape ShapeOf(const PackedBatch& batch);

// A shape that batches like this one can be padded to; shapes repeat, and rows grow by at most
// about a 32nd. Zero stays zero.
BatchShape RoundUp(const BatchShape& shape);

// `shape` must hold the batch. Padding rows are documents of kind kSequence, id -1, in groups of at
// most 31 rows without columns. Padding table rows have id -1; padding reads are alignment rows of
// item 0.
PackedBatch PadBatch(PackedBatch batch, const BatchShape& shape);

}  // namespace mixrec::data
