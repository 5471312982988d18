// Ranks and the best rows, over shards.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "ps/combine.h"
#include "tensor/softmax.h"
#include "vocabulary_fixture.h"

namespace mixrec::ps {
namespace {

// Rows 100 and 900 get the weights and bias of row 500: ties between shards.
void MakeTies(Shards* shards) {
  for (const auto& table : shards->tables) {
    for (const int64_t row : {100, 500, 900}) {
      const int64_t local = table->layout().LocalOf(row);
      if (local < 0) continue;
      table->PartValues(0)[local].fill_(0.25f);
      table->PartValues(1)[local].fill_(1.0f);
    }
  }
}

Exclusions Excluded(int64_t states) {
  Exclusions excluded;
  excluded.offsets.push_back(0);
  for (int64_t n = 0; n < states; ++n) {
    for (int64_t i = 0; i < n % 4; ++i) {
      excluded.ids.push_back(static_cast<int32_t>((n * 37 + i * 211) % kRows));
      excluded.ids.push_back(excluded.ids.back());  // twice counts once
    }
    excluded.offsets.push_back(static_cast<int32_t>(excluded.ids.size()));
  }
  return excluded;
}

at::Tensor Mask(const Exclusions& excluded, int64_t states) {
  at::Tensor mask = at::zeros({states, kRows}, at::kBool);
  for (int64_t n = 0; n < states; ++n) {
    for (int32_t i = excluded.offsets[n]; i < excluded.offsets[n + 1]; ++i) {
      mask[n][excluded.ids[i]].fill_(true);
    }
  }
  return mask;
}

TEST(Vocabulary, RanksEqualTheLocalOnesWithTiesAndExclusions) {
  Batch batch = MakeBatch(14);
  for (const int32_t n : {0, 1, 2}) {
    batch.labels[n] = 100 + 400 * n;
    batch.label_tensor[n] = batch.labels[n];
  }
  batch.states[1] = batch.states[0];
  batch.states[2] = batch.states[0];
  for (const bool dense : {true, false}) {
    for (const Split& split : Splits()) {
      Shards shards(Spec(dense), split, {kStates * 32});
      MakeTies(&shards);
      const at::Tensor all =
          tensor::ItemScores(batch.states, shards.Values(0), shards.Values(1).squeeze(1));
      for (const bool exclude : {false, true}) {
        const Exclusions excluded = exclude ? Excluded(kStates) : Exclusions{};
        at::Tensor targets = at::full({kStates}, -std::numeric_limits<float>::infinity());
        for (const auto& vocabulary : shards.vocabularies) {
          const at::Tensor some = vocabulary->TargetScores(batch.states, batch.labels);
          targets = at::where(some.isnan(), targets, some);
        }
        at::Tensor ranks = at::ones({kStates}, at::kLong);
        for (const auto& vocabulary : shards.vocabularies) {
          ranks += vocabulary->CountAhead(batch.states, batch.labels, targets, excluded);
        }
        const at::Tensor mask = exclude ? Mask(excluded, kStates) : at::Tensor();
        EXPECT_TRUE(at::equal(ranks, tensor::RankOfTargets(all, batch.label_tensor, mask)));
      }
    }
  }
}

TEST(Vocabulary, NotANumberNeverHelpsTheTarget) {
  Shards shards(Spec(true), Even(1));
  shards.tables[0]->PartValues(1)[7].fill_(std::numeric_limits<float>::quiet_NaN());
  const Vocabulary& vocabulary = *shards.vocabularies[0];
  const at::Tensor states = at::randn({2, kWidth});
  const at::Tensor scores = vocabulary.TargetScores(states, {7, 8});
  EXPECT_TRUE(std::isinf(scores[0].item<float>()));
  const at::Tensor ahead = vocabulary.CountAhead(states, {7, 8}, scores, {});
  EXPECT_EQ(ahead[0].item<int32_t>(), kRows - 1);
}

TEST(Vocabulary, TheBestRowsEqualTheLocalOnesWithTiesAndExclusions) {
  const Batch batch = MakeBatch(15);
  for (const Split& split : Splits()) {
    Shards shards(Spec(true), split, {kStates * 32});
    MakeTies(&shards);
    const at::Tensor all =
        tensor::ItemScores(batch.states, shards.Values(0), shards.Values(1).squeeze(1));
    for (const bool exclude : {false, true}) {
      const Exclusions excluded = exclude ? Excluded(kStates) : Exclusions{};
      std::vector<std::pair<at::Tensor, at::Tensor>> lists;
      for (const auto& vocabulary : shards.vocabularies) {
        lists.push_back(vocabulary->TopK(batch.states, 12, excluded));
      }
      const TopKResult best = MergeTopK(lists, 12);
      at::Tensor left = all.clone();
      if (exclude) left.masked_fill_(Mask(excluded, kStates), -1e30f);
      const auto [ids, scores] = tensor::TopK(left, 12);
      EXPECT_TRUE(at::equal(best.ids.to(at::kLong), ids));
      EXPECT_TRUE(at::allclose(best.scores, scores, 1e-5, 1e-6));
    }
  }
}

TEST(Vocabulary, ListsEndEarlyWhereFewRowsAreLeft) {
  Shards shards(Spec(true, 5), Even(2));
  const Exclusions excluded{{0, 2}, {1, 3}};
  std::vector<std::pair<at::Tensor, at::Tensor>> lists;
  for (const auto& vocabulary : shards.vocabularies) {
    lists.push_back(vocabulary->TopK(at::randn({1, kWidth}), 9, excluded));
  }
  const TopKResult best = MergeTopK(lists, 9);
  EXPECT_EQ(best.ids.ge(0).sum().item<int64_t>(), 3);
  EXPECT_EQ(best.ids[0][3].item<int32_t>(), -1);
  EXPECT_TRUE(std::isinf(best.scores[0][3].item<float>()));
}

}  // namespace
}  // namespace mixrec::ps
