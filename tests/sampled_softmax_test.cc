#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "ps/sampled.h"
#include "vocabulary_fixture.h"

namespace mixrec::ps {
namespace {

TEST(Proposals, AreTheSameWhoeverAsksAndDifferFromStepToStep) {
  const TableSpec spec = Spec(false);
  for (const bool log_uniform : {false, true}) {
    const Sampling sampling{200, log_uniform};
    const Proposals all = DrawProposals(spec, sampling, 4, 0, kRows);
    const Proposals low = DrawProposals(spec, sampling, 4, 0, 300);
    const Proposals high = DrawProposals(spec, sampling, 4, 300, kRows - 300);
    std::vector<int64_t> rows = low.rows;
    rows.insert(rows.end(), high.rows.begin(), high.rows.end());
    EXPECT_EQ(rows, all.rows);
    EXPECT_NE(DrawProposals(spec, sampling, 5, 0, kRows).rows, all.rows);
  }
}

TEST(Proposals, ARowIsSeenAsOftenAsItsCorrectionSays) {
  const TableSpec spec = Spec(false, 20);
  for (const bool log_uniform : {false, true}) {
    std::vector<double> seen(20, 0), expected(20, 0);
    for (int64_t step = 0; step < 4000; ++step) {
      const Proposals proposals = DrawProposals(spec, {12, log_uniform}, step, 0, 20);
      for (size_t i = 0; i < proposals.rows.size(); ++i) {
        const auto row = static_cast<size_t>(proposals.rows[i]);
        seen[row] += 1.0 / 4000;
        expected[row] = std::exp(proposals.log_expected[i]);
      }
    }
    for (size_t row = 0; row < 20; ++row) EXPECT_NEAR(seen[row], expected[row], 0.035) << row;
  }
}

TEST(SampledSoftmax, DoesNotDependOnTheNumberOfShards) {
  const TableSpec spec = Spec(false);
  const Sampling sampling{150, true};
  const Batch batch = MakeBatch(10);
  Shards one(spec, Even(1));
  const SoftmaxResult expected = one.Softmax(batch.states, batch.labels, sampling, 2);
  one.Backward(expected, batch.weights, sampling, 2);
  one.Step(1e-2);
  for (const Split& split : Splits()) {
    Shards shards(spec, split);
    const SoftmaxResult result = shards.Softmax(batch.states, batch.labels, sampling, 2);
    EXPECT_TRUE(at::allclose(result.entropies, expected.entropies, 1e-5, 1e-5));
    EXPECT_TRUE(at::allclose(result.gradient, expected.gradient, 1e-4, 1e-5));
    shards.Backward(result, batch.weights, sampling, 2);
    shards.Step(1e-2);
    EXPECT_LT((shards.Values(0) - one.Values(0)).abs().mean().item<double>(), 1e-5);
  }
}

TEST(SampledSoftmax, WithEveryRowSeenIsTheExactOne) {
  const TableSpec spec = Spec(false, 30);
  const Batch batch = MakeBatch(11, 20, 30);
  Shards sampled(spec, Even(3)), exact(Spec(true, 30), Even(3));
  const SoftmaxResult a = sampled.Softmax(batch.states, batch.labels, {2000, false}, 0);
  const SoftmaxResult b = exact.Softmax(batch.states, batch.labels);
  EXPECT_TRUE(at::allclose(a.entropies, b.entropies, 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(a.gradient, b.gradient, 1e-4, 1e-5));
}

TEST(SampledSoftmax, ItsSumOverTheVocabularyIsRightOnAverage) {
  const Batch batch = MakeBatch(12);
  Shards sampled(Spec(false), Even(2)), exact(Spec(true), Even(2));
  const at::Tensor expected = exact.Softmax(batch.states, batch.labels).log_sum_exp.exp();
  at::Tensor sum = at::zeros({kStates});
  for (int64_t step = 0; step < 400; ++step) {
    sum += sampled.Softmax(batch.states, batch.labels, {200, false}, step).log_sum_exp.exp();
  }
  EXPECT_LT((sum / 400 / expected - 1).abs().mean().item<double>(), 0.15);
  EXPECT_NEAR((sum / 400 / expected).mean().item<double>(), 1.0, 0.1);
}

TEST(SampledSoftmax, MovesProposalsAndLabelsOnly) {
  const TableSpec spec = Spec(false);
  const Sampling sampling{100, false};
  const Batch batch = MakeBatch(13);
  Shards shards(spec, Even(2));
  const at::Tensor before = shards.Values(0).clone();
  shards.Backward(shards.Softmax(batch.states, batch.labels, sampling, 1), batch.weights, sampling,
                  1);
  shards.Step(1e-2);
  std::vector<bool> expected(kRows, false);
  for (const int64_t row : DrawProposals(spec, sampling, 1, 0, kRows).rows) expected[row] = true;
  for (const int32_t label : batch.labels) expected[static_cast<size_t>(label)] = true;
  const at::Tensor moved = shards.Values(0).ne(before).any(1);
  for (int64_t row = 0; row < kRows; ++row) {
    EXPECT_EQ(moved[row].item<bool>(), expected[static_cast<size_t>(row)]) << row;
  }
}

TEST(CheckSoftmax, RefusesTablesMadeForAnotherSoftmax) {
  EXPECT_TRUE(CheckSoftmax(Spec(true), {}).ok());
  EXPECT_TRUE(CheckSoftmax(Spec(false), {10, true}).ok());
  EXPECT_FALSE(CheckSoftmax(Spec(true), {10, true}).ok());
  EXPECT_FALSE(CheckSoftmax(Spec(false), {}).ok());
  TableSpec hashed = Spec(true);
  hashed.partition = Partition::kHashed;
  EXPECT_FALSE(CheckSoftmax(hashed, {}).ok());
}

}  // namespace
}  // namespace mixrec::ps
