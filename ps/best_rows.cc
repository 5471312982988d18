#include "ps/best_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace mixrec::ps {
namespace {

bool Before(const BestRows::Row& a, const BestRows::Row& b) {
  return a.score != b.score ? a.score > b.score : a.row < b.row;
}

}  // namespace

void BestRows::Add(int32_t row, float score) {
  const Row added{row, std::isnan(score) ? -std::numeric_limits<float>::infinity() : score};
  if (heap_.size() == k_) {
    if (k_ == 0 || !Before(added, heap_.front())) return;
    std::pop_heap(heap_.begin(), heap_.end(), Before);
    heap_.pop_back();
  }
  heap_.push_back(added);
  std::push_heap(heap_.begin(), heap_.end(), Before);
}

std::vector<BestRows::Row> BestRows::Take() {
  std::sort_heap(heap_.begin(), heap_.end(), Before);
  return std::exchange(heap_, {});
}

std::pair<at::Tensor, at::Tensor> TakeLists(std::vector<BestRows>* best, int64_t k) {
  const auto size = static_cast<int64_t>(best->size());
  at::Tensor ids = at::full({size, k}, -1, at::kInt);
  at::Tensor scores = at::full({size, k}, -std::numeric_limits<float>::infinity());
  for (int64_t n = 0; n < size; ++n) {
    int64_t place = n * k;
    for (const BestRows::Row& row : (*best)[static_cast<size_t>(n)].Take()) {
      ids.data_ptr<int32_t>()[place] = row.row;
      scores.data_ptr<float>()[place++] = row.score;
    }
  }
  return {ids, scores};
}

}  // namespace mixrec::ps
