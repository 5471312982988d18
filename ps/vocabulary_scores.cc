// Ranks and retrieval over a shard's rows.
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/log.h"
#include "ps/best_rows.h"
#include "ps/vocabulary.h"

namespace mixrec::ps {
namespace {

constexpr int64_t kMostStates = 1024;

// Sorted, distinct local rows that each of `states` states excludes.
std::vector<std::vector<int64_t>> ExcludedRows(const RowLayout& layout, const Exclusions& excluded,
                                               int64_t states) {
  std::vector<std::vector<int64_t>> lists(static_cast<size_t>(states));
  if (excluded.offsets.empty()) return lists;
  CHECK_EQ(excluded.offsets.size(), lists.size() + 1);
  for (size_t n = 0; n < lists.size(); ++n) {
    std::vector<int64_t>& rows = lists[n];
    for (int32_t i = excluded.offsets[n]; i < excluded.offsets[n + 1]; ++i) {
      const int32_t id = excluded.ids[static_cast<size_t>(i)];
      if (id < 0 || id >= layout.rows() || layout.LocalOf(id) < 0) continue;
      rows.push_back(layout.LocalOf(id));
    }
    std::sort(rows.begin(), rows.end());
    rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  }
  return lists;
}

// Whether a row ranks before a target; NaN counts against the target, whoever has it.
bool Ahead(float score, float target, bool smaller_row) {
  return !(score <= target) || (smaller_row && score == target);
}

// Rows [0, size) of `scores`, of which those below `smaller` are smaller rows than the target.
int32_t CountAheadIn(const float* scores, int64_t size, int64_t smaller, float target) {
  int32_t count = 0;
  for (int64_t j = 0; j < smaller; ++j) count += scores[j] < target ? 0 : 1;
  for (int64_t j = smaller; j < size; ++j) count += scores[j] <= target ? 0 : 1;
  return count;
}

template <typename Visit>
void ForStates(int64_t states, Visit visit) {
  at::parallel_for(0, states, 16, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) visit(i);
  });
}

}  // namespace

template <typename Visit>
void Vocabulary::ForScores(const at::Tensor& states, Visit visit) const {
  const at::Tensor on_device = OnDevice(states);
  const at::Tensor& weight = table_->PartValues(0);
  const at::Tensor bias = table_->PartValues(1).reshape({-1});
  for (int64_t n = 0; n < states.size(0); n += kMostStates) {
    const int64_t count = std::min(kMostStates, states.size(0) - n);
    const int64_t columns = std::max<int64_t>(16, BlockElements(on_device) / count / 16 * 16);
    for (int64_t first = 0; first < weight.size(0); first += columns) {
      const int64_t size = std::min(columns, weight.size(0) - first);
      at::Tensor scores = at::mm(on_device.narrow(0, n, count), weight.narrow(0, first, size).t());
      visit(first, scores.add_(bias.narrow(0, first, size)).cpu(), n);
    }
  }
}

at::Tensor Vocabulary::TargetScores(const at::Tensor& states,
                                    const std::vector<int32_t>& targets) const {
  CHECK_EQ(states.size(0), static_cast<int64_t>(targets.size()));
  at::Tensor result = at::full({states.size(0)}, std::numeric_limits<float>::quiet_NaN());
  auto* out = result.data_ptr<float>();
  // The very products of CountAhead: a tie must be one there, too.
  ForScores(states, [&](int64_t first, const at::Tensor& scores, int64_t state) {
    for (int64_t i = 0; i < scores.size(0); ++i) {
      const int64_t n = state + i;
      const int64_t column = table_->layout().LocalOf(targets[static_cast<size_t>(n)]) - first;
      if (column < 0 || column >= scores.size(1)) continue;
      const float score = scores.data_ptr<float>()[i * scores.size(1) + column];
      out[n] = std::isnan(score) ? -std::numeric_limits<float>::infinity() : score;
    }
  });
  return result;
}

at::Tensor Vocabulary::CountAhead(const at::Tensor& states, const std::vector<int32_t>& targets,
                                  const at::Tensor& target_scores,
                                  const Exclusions& excluded) const {
  CHECK_EQ(states.size(0), static_cast<int64_t>(targets.size()));
  CHECK_EQ(states.size(0), target_scores.numel());
  const RowLayout& layout = table_->layout();
  const at::Tensor given = target_scores.contiguous();
  at::Tensor result = at::zeros({states.size(0)}, at::kInt);
  auto* counts = result.data_ptr<int32_t>();
  const auto without = ExcludedRows(layout, excluded, states.size(0));
  ForScores(states, [&](int64_t first, const at::Tensor& scores, int64_t state) {
    const int64_t size = scores.size(1);
    ForStates(scores.size(0), [&](int64_t i) {
      const int64_t n = state + i;
      const float* row = scores.data_ptr<float>() + i * size;
      const float target = given.data_ptr<float>()[n];
      // As a local row, negative or beyond the last where it is elsewhere.
      const int64_t place = targets[static_cast<size_t>(n)] - layout.first_row();
      counts[n] += CountAheadIn(row, size, std::clamp<int64_t>(place - first, 0, size), target);
      const auto uncount = [&](int64_t local) {
        if (local < first || local >= first + size) return;
        if (Ahead(row[local - first], target, local < place)) --counts[n];
      };
      uncount(place);
      for (const int64_t local : without[static_cast<size_t>(n)]) {
        if (local != place) uncount(local);
      }
    });
  });
  return result;
}

std::pair<at::Tensor, at::Tensor> Vocabulary::TopK(const at::Tensor& states, int64_t k,
                                                   const Exclusions& excluded) const {
  CHECK_GE(k, 0);
  const RowLayout& layout = table_->layout();
  k = std::min(k, layout.local_rows());
  std::vector<BestRows> best(static_cast<size_t>(states.size(0)), BestRows(k));
  const auto excluded_rows = ExcludedRows(layout, excluded, states.size(0));
  ForScores(states, [&](int64_t first, const at::Tensor& scores, int64_t state) {
    ForStates(scores.size(0), [&](int64_t i) {
      const std::vector<int64_t>& without = excluded_rows[static_cast<size_t>(state + i)];
      BestRows& of = best[static_cast<size_t>(state + i)];
      const float* row = scores.data_ptr<float>() + i * scores.size(1);
      for (int64_t j = 0; j < scores.size(1); ++j) {
        if (!of.Wants(row[j])) continue;
        if (std::binary_search(without.begin(), without.end(), first + j)) continue;
        of.Add(static_cast<int32_t>(layout.RowOf(first + j)), row[j]);
      }
    });
  });
  return TakeLists(&best, k);
}

}  // namespace mixrec::ps
