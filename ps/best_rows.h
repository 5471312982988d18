// The best rows seen so far.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace mixrec::ps {

// Keeps the k rows of highest score, ties by smaller row. A score that is no number counts as -inf.
class BestRows {
 public:
  explicit BestRows(int64_t k) : k_(static_cast<size_t>(k)) {}

  // Whether a row that is not smaller than those seen would get in.
  bool Wants(float score) const {
    return heap_.size() < k_ || (k_ > 0 && score > heap_.front().score);
  }
  void Add(int32_t row, float score);

  struct Row {
    int32_t row = -1;
    float score = 0;
  };
  // Best first. Leaves nothing.
  std::vector<Row> Take();

 private:
  size_t k_;
  std::vector<Row> heap_;  // the worst in front
};

// ids [N, k] int32 and scores [N, k] fp32, CPU; -1 and -inf behind the last.
std::pair<at::Tensor, at::Tensor> TakeLists(std::vector<BestRows>* best, int64_t k);

}  // namespace mixrec::ps
