// A restricted unpickler: the subset of Python's pickle language that torch.save uses for a state
// dict (protocols 2 to 5). It never calls anything; it only describes tensors. Private to the room.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/status.h"

namespace mixrec::model {

// A view of a storage, as torch._utils._rebuild_tensor_v2 is told.
struct PickledTensor {
  std::string storage;  // the record is data/<storage>
  at::ScalarType dtype = at::kFloat;
  int64_t storage_numel = 0;  // elements
  int64_t offset = 0;         // elements
  std::vector<int64_t> sizes, strides;
};

// The tensors of a pickled dict from names to tensors, in its order; entries that are no tensors
// are left out. The numbers are as found: the caller checks them. DataError starts with what is
// wrong (no path) and says at which byte of the pickle.
absl::StatusOr<std::vector<std::pair<std::string, PickledTensor>>> ReadPickledStateDict(
    std::string_view pickle);

}  // namespace mixrec::model
