// A small data set, and the steps of its training, for the tests of data/batcher.h.
#pragma once

#include <string>
#include <vector>

#include "common/random.h"
#include "data/batcher.h"

namespace mixrec::data {

inline constexpr int32_t kSeq = 100, kAlign = 101;
inline constexpr int kItems = 40;

inline Dataset MakeDataset() {
  RandomStream random(HashKey(1, "histories"));
  std::vector<std::vector<int32_t>> histories(30);
  for (auto& history : histories) {
    history.resize(4 + random.Below(9));
    for (int32_t& item : history) item = static_cast<int32_t>(random.Below(kItems));
  }
  histories.push_back({0, 1, 2});  // one training item
  return Dataset::FromHistories(histories, std::vector<std::string>(kItems, "t"));
}

// Item i has 1 + i % 3 tokens.
inline Catalogue MakeCatalogue() {
  std::vector<std::vector<int32_t>> tokens;
  for (int32_t item = 0; item < kItems; ++item) {
    tokens.emplace_back(static_cast<size_t>(1 + item % 3), 10 + item);
  }
  return Catalogue({1, 2, 3}, tokens);
}

inline BatchOptions Options() {
  BatchOptions options;
  options.seed = 11;
  options.queries_per_user = 2;
  options.negatives = 3;
  options.inject_user = true;
  options.sequence_token = kSeq;
  options.alignment_token = kAlign;
  return options;
}

// What a step is drawn from.
struct World {
  Dataset dataset = MakeDataset();
  Catalogue catalogue = MakeCatalogue();
  UniformNonCooccurring hard_samples{dataset};
  PackedBatch Train(const BatchOptions& options, const std::vector<int32_t>& users) const {
    return BuildTrainingBatch(dataset, catalogue, hard_samples, options, 0, users);
  }
};

}  // namespace mixrec::data
