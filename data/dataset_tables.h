// The two files of a data set as tables, before the filter. Private to data/.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/status.h"
#include "data/atomic_file.h"
#include "data/dataset.h"

namespace mixrec::data {

using ViewIndex = std::unordered_map<std::string_view, int32_t>;

// Lines of *.item, one an id, in file order.
struct ItemTable {
  std::vector<std::string_view> ids;  // views into the file's map
  std::vector<std::string> titles;    // empty: the item has none
  std::vector<std::string> sentences;
  ViewIndex index;
};

struct Interaction {
  int32_t user = 0;
  int32_t item = 0;      // index into ItemTable
  long double time = 0;  // holds every 64-bit integer and every double exactly
};

// Lines of *.inter whose item is known, in file order.
struct InteractionTable {
  std::vector<std::string_view> user_ids;  // by first appearance; views into the file's map
  std::vector<Interaction> rows;
};

// Both count what they met in `stats`.
absl::StatusOr<ItemTable> ReadItems(AtomicFile* file, const DatasetOptions& options,
                                    DatasetStats* stats);
absl::StatusOr<InteractionTable> ReadInteractions(AtomicFile* file, const ItemTable& items,
                                                  DatasetStats* stats);

}  // namespace mixrec::data
