// Private to model/: the lists of an AttentionLayout on the host.
#pragma once

#include <cstdint>
#include <vector>

#include "data/packed_batch.h"
#include "model/attention_tiles.h"
#include "model/options.h"

namespace mixrec::model {

struct LayoutLists {
  std::vector<int32_t> query_rows, causal, context, query_document, query_group;
  TileLists tiles;
};

// Of the rows `queries`, ascending. CHECKs that documents and groups tile the batch's rows.
LayoutLists MakeLayout(const data::PackedBatch& batch, std::vector<int32_t> queries,
                       const ModelOptions& options);

}  // namespace mixrec::model
