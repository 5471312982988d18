// The user-item matrix of the training histories (model.md D35), sparse.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "data/dataset.h"

namespace mixrec::mining {

// Row u holds a 1 for every item of user u's training history S, once however often it occurs.
// 4 bytes a training interaction.
class UserItemMatrix {
 public:
  explicit UserItemMatrix(const data::Dataset& dataset);

  int32_t users() const { return static_cast<int32_t>(offsets_.size()) - 1; }
  int32_t items() const { return items_; }
  int64_t entries() const { return static_cast<int64_t>(columns_.size()); }
  // Items of a user, ascending.
  absl::Span<const int32_t> row(int32_t user) const {
    const auto begin = offsets_[static_cast<size_t>(user)];
    const auto end = offsets_[static_cast<size_t>(user) + 1];
    return {columns_.data() + begin, static_cast<size_t>(end - begin)};
  }

 private:
  int32_t items_ = 0;
  std::vector<int64_t> offsets_{0};  // [users + 1]
  std::vector<int32_t> columns_;
};

}  // namespace mixrec::mining
