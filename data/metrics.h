// Ranking metrics of leave-one-out evaluation: one relevant item a user (model.md D31).
#pragma once

#include <array>
#include <cstdint>

#include "absl/types/span.h"

namespace mixrec::data {

// 1-based rank of `target` in `scores` [items]: 1 + #{score > target's} + #{equal score and smaller
// index}. A NaN counts as the lowest score. Items of `masked` other than the target are left out.
int64_t RankOf(absl::Span<const float> scores, int32_t target,
               absl::Span<const int32_t> masked = {});

inline constexpr std::array<int, 3> kCutoffs{5, 10, 20};

// Sums over users; parts computed apart are merged by addition.
struct RankingSums {
  std::array<double, kCutoffs.size()> dcg{};  // ideal DCG is 1: one relevant item
  std::array<double, kCutoffs.size()> hits{};
  double reciprocal_rank = 0;
  int64_t users = 0;

  void Add(int64_t rank);
  void Merge(const RankingSums& other);

  // Means over users, 0 when there are none. `cutoff` is one of kCutoffs.
  double Ndcg(int cutoff) const;
  double Recall(int cutoff) const;
  double Mrr() const;
};

}  // namespace mixrec::data
