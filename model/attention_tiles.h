// Private to model/: attention cut into tiles of at most 32 rows, for kernels that compute a tile
// at once on tensor cores. A tile is a piece of one group (an item with its [SEQ] or [ALIGN]), so
// the queries of a tile see the same columns, the same prompt and the same group.
#pragma once

#include <cstdint>
#include <vector>

#include "data/packed_batch.h"

namespace mixrec::model {

inline constexpr int32_t kTileRows = 32;

// Fields of a tile, int32; stream rows unless said otherwise.
enum TileField : int32_t {
  kTileQueryBegin,  // queries that stand on the tile's rows
  kTileQueryEnd,
  kTileKeyBegin,  // the tile's rows
  kTileKeyEnd,
  kTileDocument,    // first row of its document
  kTileGroupBegin,  // rows of its group
  kTileGroupEnd,
  kTilePrompt,      // 1: its queries see the prompt
  kTileUserColumn,  // -1: none
  kTileItemColumn,
  kTilePartial,        // first row of its share in the gradients of what it shares
  kTileDocumentTiles,  // index after its document's last tile
  kTileGroupTiles,     // index of its group's first tile
  kTileWhole,          // 1: the group is this one tile
  kTileFields = 16
};

// What the tiles of a stream are, as flat lists.
struct TileLists {
  std::vector<int32_t> tiles;      // [tiles, kTileFields]
  std::vector<int32_t> key_tiles;  // tiles whose keys other tiles' queries see
  // Rows that queries of many tiles see: prompt rows, then columns. Row r's gradient is the sum of
  // the partial rows shared_entries[shared_starts[r] .. shared_starts[r + 1]).
  std::vector<int32_t> shared_starts, shared_entries;
};

// The longest document's tiles come first, since a GPU takes tiles in order and a tile's work grows
// with the rows before it. `queries` ascend; `user_column`, `item_column` of a group as the layout
// has them. Every group lies in one document, both tile the stream.
TileLists MakeTiles(const data::PackedBatch& batch, const std::vector<int32_t>& queries,
                    const std::vector<int32_t>& user_columns,
                    const std::vector<int32_t>& item_columns, int32_t columns);

}  // namespace mixrec::model
