#include "data/hard_samples.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace mixrec::data {
namespace {

Dataset RandomDataset(uint64_t seed, int users, int items) {
  RandomStream random(HashKey(seed, "histories"));
  std::vector<std::vector<int32_t>> histories(static_cast<size_t>(users));
  for (auto& history : histories) {
    history.resize(3 + random.Below(5));
    for (int32_t& item : history) {
      item = static_cast<int32_t>(random.Below(static_cast<uint64_t>(items)));
    }
  }
  return Dataset::FromHistories(histories,
                                std::vector<std::string>(static_cast<size_t>(items), "t"));
}

bool ShareATrainingHistory(const Dataset& dataset, int32_t a, int32_t b) {
  for (int32_t user = 0; user < dataset.users(); ++user) {
    const auto items = dataset.training_items(user);
    if (std::count(items.begin(), items.end(), a) && std::count(items.begin(), items.end(), b)) {
      return true;
    }
  }
  return false;
}

TEST(HardSamples, NeverCooccurAndAreDistinctWhileThereAreEnough) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const Dataset dataset = RandomDataset(seed, 20, 30);
    const UniformNonCooccurring source(dataset);
    RandomStream random(seed);
    for (int32_t item = 0; item < dataset.items(); ++item) {
      int apart = 0;
      for (int32_t other = 0; other < dataset.items(); ++other) {
        const bool together = ShareATrainingHistory(dataset, item, other);
        if (other != item) {
          EXPECT_EQ(source.Cooccur(item, other), together);
        }
        apart += other != item && !together;
      }
      std::vector<int32_t> negatives;
      source.Draw(item, 5, &random, &negatives);
      ASSERT_EQ(negatives.size(), 5u);
      EXPECT_EQ(std::set<int32_t>(negatives.begin(), negatives.end()).size(), 5u);
      for (const int32_t negative : negatives) {
        EXPECT_NE(negative, item);
        if (apart >= 5) {
          EXPECT_FALSE(ShareATrainingHistory(dataset, item, negative));
        }
      }
    }
  }
}

TEST(HardSamples, ValidationAndTestItemsDoNotCount) {
  const Dataset dataset = Dataset::FromHistories({{0, 1, 2}}, {"a", "b", "c"});
  const UniformNonCooccurring source(dataset);
  EXPECT_FALSE(source.Cooccur(0, 1));
  EXPECT_FALSE(source.Cooccur(0, 2));
}

TEST(HardSamples, RandomOtherItemsFillUpWhenTooFewAreApart) {
  // Items 0, 1, 2 share a history; only 3 is apart from them.
  const Dataset dataset = Dataset::FromHistories({{0, 1, 2, 3, 3}}, {"a", "b", "c", "d"});
  const UniformNonCooccurring source(dataset);
  RandomStream random(1);
  std::vector<int32_t> negatives{42};
  source.Draw(0, 3, &random, &negatives);
  ASSERT_EQ(negatives.size(), 4u);
  EXPECT_EQ(negatives[0], 42);  // appended, not overwritten
  EXPECT_EQ(std::set<int32_t>(negatives.begin() + 1, negatives.end()),
            (std::set<int32_t>{1, 2, 3}));
  negatives.clear();
  source.Draw(0, 7, &random, &negatives);
  ASSERT_EQ(negatives.size(), 7u);
  EXPECT_EQ(std::count(negatives.begin(), negatives.end(), 0), 0);
}

TEST(HardSamples, AreUniformOverTheItemsApart) {
  const Dataset dataset = Dataset::FromHistories({{0, 1, 2, 2}}, std::vector<std::string>(6, "t"));
  const UniformNonCooccurring source(dataset);
  RandomStream random(7);
  std::vector<int> count(6, 0);
  for (int k = 0; k < 4000; ++k) {
    std::vector<int32_t> negatives;
    source.Draw(0, 1, &random, &negatives);
    ++count[static_cast<size_t>(negatives[0])];
  }
  EXPECT_EQ(count[0] + count[1], 0);
  for (size_t item = 2; item < 6; ++item) EXPECT_NEAR(count[item], 1000, 120);
}

TEST(HardSamples, TheSameStreamDrawsTheSame) {
  const Dataset dataset = RandomDataset(3, 20, 30);
  const UniformNonCooccurring source(dataset);
  std::vector<int32_t> first, second;
  RandomStream a(5), b(5);
  source.Draw(4, 5, &a, &first);
  source.Draw(4, 5, &b, &second);
  EXPECT_EQ(first, second);
}

}  // namespace
}  // namespace mixrec::data
