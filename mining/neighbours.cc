#include "mining/neighbours.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>
#include <vector>

#include "common/log.h"

namespace mixrec::mining {
namespace {

// The k best (score, item) met so far: candidates are kept until there are twice as many, then the
// worse half goes.
class Best {
 public:
  explicit Best(size_t k) : k_(k) { candidates_.reserve(2 * k); }

  float threshold() const { return threshold_; }
  // Items must come in ascending order: of equal scores the first ones stay.
  void Add(float score, int32_t item) {
    candidates_.emplace_back(score, item);
    if (candidates_.size() == 2 * k_) Cut();
  }
  // Best first.
  void Take(int32_t* out) {
    CHECK_GE(candidates_.size(), k_);
    std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(k_),
                      candidates_.end());
    for (size_t rank = 0; rank < k_; ++rank) out[rank] = candidates_[rank].second;
  }

 private:
  void Cut() {
    const auto last = candidates_.begin() + static_cast<std::ptrdiff_t>(k_) - 1;
    std::nth_element(candidates_.begin(), last, candidates_.end());
    threshold_ = last->first;
    candidates_.resize(k_);
  }

  size_t k_;
  std::vector<std::pair<float, int32_t>> candidates_;
  float threshold_ = std::numeric_limits<float>::infinity();
};

void AddRow(const float* scores, int64_t first_item, int64_t items, int64_t self, Best* best) {
  for (int64_t k = 0; k < items; ++k) {
    if (scores[k] < best->threshold() && first_item + k != self) {
      best->Add(scores[k], static_cast<int32_t>(first_item + k));
    }
  }
}

}  // namespace

NeighbourSearch::NeighbourSearch(const at::Tensor& vectors, const NeighbourOptions& options)
    : options_(options) {
  CHECK(vectors.dim() == 2 && vectors.size(0) >= 2 && vectors.is_contiguous() &&
        vectors.scalar_type() == at::kFloat && vectors.is_cpu())
      << "vectors are [I, D] fp32 on the CPU, at least two";
  if (options_.method == NeighbourMethod::kAuto) {
    options_.method = options.device.is_cpu() ? NeighbourMethod::kScan : NeighbourMethod::kTopK;
  }
  CHECK(options_.method == NeighbourMethod::kTopK || options.device.is_cpu());
  const at::NoGradGuard no_gradient;
  vectors_ = vectors.to(options.device);
  squares_ = at::empty({vectors.size(0)}, vectors_.options());
  for (int64_t item = 0; item < vectors.size(0); item += options.item_block) {
    const int64_t items = std::min(options.item_block, vectors.size(0) - item);
    squares_.narrow(0, item, items).copy_(vectors_.narrow(0, item, items).square().sum(1));
  }
}

at::Tensor NeighbourSearch::Scores(int64_t first, int64_t count, int64_t item,
                                   int64_t items) const {
  return at::addmm(squares_.narrow(0, item, items), vectors_.narrow(0, first, count),
                   vectors_.narrow(0, item, items).t(), /*beta=*/1, /*alpha=*/-2);
}

at::Tensor NeighbourSearch::Nearest(int64_t first, int64_t count, int64_t k) const {
  const int64_t all = vectors_.size(0);
  CHECK(first >= 0 && count >= 1 && first + count <= all) << first << ", " << count;
  CHECK(k >= 1 && k < all) << k << " neighbours among " << all << " items";
  const at::NoGradGuard no_gradient;
  return options_.method == NeighbourMethod::kScan ? NearestByScan(first, count, k)
                                                   : NearestByTopK(first, count, k);
}

at::Tensor NeighbourSearch::NearestByScan(int64_t first, int64_t count, int64_t k) const {
  std::vector<Best> best(static_cast<size_t>(count), Best(static_cast<size_t>(k)));
  for (int64_t item = 0; item < vectors_.size(0); item += options_.item_block) {
    const int64_t items = std::min(options_.item_block, vectors_.size(0) - item);
    const at::Tensor scores = Scores(first, count, item, items);
    const float* values = scores.data_ptr<float>();
    at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        AddRow(values + row * items, item, items, first + row, &best[static_cast<size_t>(row)]);
      }
    });
  }
  at::Tensor nearest = at::empty({count, k}, at::kInt);
  int32_t* out = nearest.data_ptr<int32_t>();
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) best[static_cast<size_t>(row)].Take(out + row * k);
  });
  return nearest;
}

at::Tensor NeighbourSearch::NearestByTopK(int64_t first, int64_t count, int64_t k) const {
  at::Tensor best_scores, best_items;
  for (int64_t item = 0; item < vectors_.size(0); item += options_.item_block) {
    const int64_t items = std::min(options_.item_block, vectors_.size(0) - item);
    at::Tensor scores = Scores(first, count, item, items);
    const int64_t begin = std::max(first, item), end = std::min(first + count, item + items);
    if (begin < end) {  // the items themselves
      scores.narrow(0, begin - first, end - begin)
          .narrow(1, begin - item, end - begin)
          .fill_diagonal_(std::numeric_limits<double>::infinity());
    }
    auto [values, indices] = at::topk(scores, std::min(k, items), 1, /*largest=*/false);
    indices += item;
    if (best_scores.defined()) {
      values = at::cat({best_scores, values}, 1);
      indices = at::cat({best_items, indices}, 1);
    }
    const int64_t kept = std::min(k, values.size(1));
    at::Tensor order;
    std::tie(best_scores, order) = at::topk(values, kept, 1, /*largest=*/false);
    best_items = indices.gather(1, order);
  }
  return best_items.to(at::kInt).cpu();
}

}  // namespace mixrec::mining
