#include "data/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "common/log.h"

namespace mixrec::data {
namespace {

float Comparable(float score) {
  return std::isnan(score) ? -std::numeric_limits<float>::infinity() : score;
}

size_t CutoffIndex(int cutoff) {
  const auto found = std::find(kCutoffs.begin(), kCutoffs.end(), cutoff);
  CHECK(found != kCutoffs.end()) << "metrics are not kept at cutoff " << cutoff;
  return static_cast<size_t>(found - kCutoffs.begin());
}

double Mean(double sum, int64_t count) { return count == 0 ? 0 : sum / static_cast<double>(count); }

}  // namespace

int64_t RankOf(absl::Span<const float> scores, int32_t target, absl::Span<const int32_t> masked) {
  CHECK(target >= 0 && static_cast<size_t>(target) < scores.size())
      << "target " << target << " of " << scores.size() << " items";
  const float own = Comparable(scores[static_cast<size_t>(target)]);
  const auto before = [&](size_t item) {
    const float score = Comparable(scores[item]);
    return score > own || (score == own && item < static_cast<size_t>(target));
  };
  int64_t rank = 1;
  for (size_t item = 0; item < scores.size(); ++item) rank += before(item);
  if (masked.empty()) return rank;
  std::vector<int32_t> distinct(masked.begin(), masked.end());
  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  for (const int32_t item : distinct) rank -= before(static_cast<size_t>(item));
  return rank;
}

void RankingSums::Add(int64_t rank) {
  CHECK_GE(rank, 1) << "ranks count from 1";
  for (size_t k = 0; k < kCutoffs.size(); ++k) {
    if (rank > kCutoffs[k]) continue;
    dcg[k] += 1 / std::log2(static_cast<double>(rank) + 1);
    hits[k] += 1;
  }
  reciprocal_rank += 1 / static_cast<double>(rank);
  ++users;
}

void RankingSums::Merge(const RankingSums& other) {
  for (size_t k = 0; k < kCutoffs.size(); ++k) {
    dcg[k] += other.dcg[k];
    hits[k] += other.hits[k];
  }
  reciprocal_rank += other.reciprocal_rank;
  users += other.users;
}

double RankingSums::Ndcg(int cutoff) const { return Mean(dcg[CutoffIndex(cutoff)], users); }
double RankingSums::Recall(int cutoff) const { return Mean(hits[CutoffIndex(cutoff)], users); }
double RankingSums::Mrr() const { return Mean(reciprocal_rank, users); }

}  // namespace mixrec::data
