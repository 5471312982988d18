#include "data/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/data_fixture.h"

namespace mixrec::data {
namespace {

TEST(Metrics, RankIsOneForTheHighestScore) {
  EXPECT_EQ(RankOf(std::vector<float>{.1f, .9f, .5f}, 1), 1);
  EXPECT_EQ(RankOf(std::vector<float>{.1f, .9f, .5f}, 0), 3);
}

TEST(Metrics, TiesAreRankedByItemIndex) {
  const std::vector<float> scores{1, 1, 1, 1};
  for (int32_t item = 0; item < 4; ++item) EXPECT_EQ(RankOf(scores, item), item + 1);
}

TEST(Metrics, NanCountsAsTheLowestScore) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(RankOf(std::vector<float>{nan, -1, nan}, 1), 1);
  EXPECT_EQ(RankOf(std::vector<float>{nan, -1, -2}, 0), 3);
}

TEST(Metrics, MaskedItemsAreLeftOutButNeverTheTarget) {
  const std::vector<float> scores{4, 3, 2, 1};
  EXPECT_EQ(RankOf(scores, 3, std::vector<int32_t>{0, 1}), 2);
  EXPECT_EQ(RankOf(scores, 1, std::vector<int32_t>{1, 2}), 2);
}

TEST(Metrics, CutoffsCountRanksUpToThem) {
  RankingSums sums;
  sums.Add(5);
  sums.Add(6);
  sums.Add(21);
  EXPECT_DOUBLE_EQ(sums.Recall(5), 1. / 3);
  EXPECT_DOUBLE_EQ(sums.Recall(10), 2. / 3);
  EXPECT_DOUBLE_EQ(sums.Recall(20), 2. / 3);
  EXPECT_DOUBLE_EQ(sums.Ndcg(10), (1 / std::log2(6.) + 1 / std::log2(7.)) / 3);
  EXPECT_DOUBLE_EQ(sums.Mrr(), (1. / 5 + 1. / 6 + 1. / 21) / 3);
}

TEST(Metrics, MergedPartsEqualTheWhole) {
  RankingSums whole, first, second;
  for (int64_t rank = 1; rank <= 30; ++rank) {
    whole.Add(rank);
    (rank <= 11 ? first : second).Add(rank);
  }
  first.Merge(second);
  EXPECT_EQ(first.users, whole.users);
  EXPECT_NEAR(first.Ndcg(10), whole.Ndcg(10), 1e-15);
  EXPECT_NEAR(first.Mrr(), whole.Mrr(), 1e-15);
}

TEST(Metrics, NobodyIsZero) {
  EXPECT_EQ(RankingSums().Ndcg(10), 0);
  EXPECT_EQ(RankingSums().Mrr(), 0);
}

TEST(GoldenMetrics, RanksAndMeansEqualTheReference) {
  const std::string path = SharedFolder() + "/golden/metrics.json";
  MIXREC_SKIP_WITHOUT(path);
  nlohmann::json cases = nlohmann::json::parse(ReadFile(path).value());
  if (!cases.is_array()) cases = nlohmann::json::array({cases});
  for (const auto& golden : cases) {
    RankingSums sums;
    for (size_t user = 0; user < golden["targets"].size(); ++user) {
      sums.Add(RankOf(golden["scores"][user].get<std::vector<float>>(),
                      golden["targets"][user].get<int32_t>()));
    }
    EXPECT_NEAR(sums.Ndcg(10), golden["ndcg10"].get<double>(), 1e-9);
    EXPECT_NEAR(sums.Recall(10), golden["recall10"].get<double>(), 1e-9);
    EXPECT_NEAR(sums.Mrr(), golden["mrr"].get<double>(), 1e-9);
  }
}

}  // namespace
}  // namespace mixrec::data
