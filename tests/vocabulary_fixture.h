// Shards of a vocabulary and their worker, without a network.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "ps/combine.h"
#include "ps/vocabulary.h"

namespace mixrec::ps {

inline constexpr int64_t kRows = 1000, kWidth = 24, kStates = 40;

inline TableSpec Spec(bool dense, int64_t rows = kRows) {
  TableSpec spec;
  spec.name = "item_proj";
  spec.rows = rows;
  spec.parts = {{"item_proj.weight", kWidth, 0.3}, {"item_proj.bias", 1, 0.3}};
  spec.partition = Partition::kRanges;
  spec.dense = dense;
  spec.seed = 11;
  return spec;
}

using Split = std::vector<BucketRange>;

inline Split Even(int64_t shards) {
  Split split;
  for (int64_t s = 0; s < shards; ++s) split.push_back(EvenBuckets(s, shards));
  return split;
}

inline const std::vector<Split>& Splits() {
  static const auto* splits = new std::vector<Split>{
      Even(1),
      Even(2),
      Even(3),
      Even(7),
      {{0, 3}, {3, 4000}, {4000, 4096}},
      {{0, 0}, {0, 2}, {2, 4096}, {4096, 4096}},  // shards without rows
  };
  return *splits;
}

struct Shards {
  Shards(const TableSpec& spec, const Split& split, const VocabularyOptions& options = {}) {
    for (const BucketRange& buckets : split) {
      tables.push_back(std::make_unique<Table>(spec, buckets, at::kCPU));
      vocabularies.push_back(std::make_unique<Vocabulary>(tables.back().get(), options));
    }
  }

  SoftmaxResult Softmax(const at::Tensor& states, const std::vector<int32_t>& labels,
                        const Sampling& sampling = {}, int64_t step = 0, int64_t kept = 0) {
    std::vector<ShardSoftmax> parts;
    batches.clear();
    for (const auto& vocabulary : vocabularies) {
      batches.push_back(vocabulary->MakeBatch(states, labels.data()));
      parts.push_back(vocabulary->Forward(sampling, step, kept, &batches.back()));
    }
    const auto result = CombineSoftmax(parts);
    EXPECT_TRUE(result.ok()) << result.status();
    return *result;
  }

  void Backward(const SoftmaxResult& result, const at::Tensor& weights,
                const Sampling& sampling = {}, int64_t step = 0) {
    for (size_t s = 0; s < vocabularies.size(); ++s) {
      vocabularies[s]->Backward(sampling, step, batches[s], result.log_sum_exp, weights);
    }
  }
  void Step(double learning_rate) {
    for (const auto& vocabulary : vocabularies) vocabulary->ApplyStep(learning_rate);
  }
  at::Tensor Values(size_t part) const {
    std::vector<at::Tensor> values;
    for (const auto& table : tables) values.push_back(table->PartValues(part));
    return at::cat(values);
  }

  std::vector<std::unique_ptr<Table>> tables;
  std::vector<std::unique_ptr<Vocabulary>> vocabularies;
  std::vector<SoftmaxBatch> batches;
};

struct Batch {
  at::Tensor states, weights, label_tensor;
  std::vector<int32_t> labels;
};

inline Batch MakeBatch(uint64_t seed, int64_t states = kStates, int64_t rows = kRows) {
  at::manual_seed(seed);
  Batch batch{
      at::randn({states, kWidth}), at::rand({states}), at::randint(rows, {states}, at::kLong), {}};
  for (int64_t n = 0; n < states; ++n) {
    batch.labels.push_back(static_cast<int32_t>(batch.label_tensor[n].item<int64_t>()));
  }
  return batch;
}

}  // namespace mixrec::ps
