#include "mining/user_item_matrix.h"

#include <algorithm>

namespace mixrec::mining {

UserItemMatrix::UserItemMatrix(const data::Dataset& dataset) : items_(dataset.items()) {
  for (int32_t user = 0; user < dataset.users(); ++user) {
    const auto history = dataset.training_items(user);
    const auto begin = columns_.insert(columns_.end(), history.begin(), history.end());
    std::sort(begin, columns_.end());
    columns_.erase(std::unique(begin, columns_.end()), columns_.end());
    offsets_.push_back(static_cast<int64_t>(columns_.size()));
  }
}

}  // namespace mixrec::mining
