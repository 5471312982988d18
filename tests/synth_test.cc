#include "data/synth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>

#include "data/metrics.h"
#include "tests/data_fixture.h"

namespace mixrec::data {
namespace {

SynthOptions Options(uint64_t seed = 3) {
  SynthOptions options;
  options.users = 600;
  options.items = 200;
  options.seed = seed;
  return options;
}

// Test recall@10 of a score of (previous item, candidate).
double Recall(const Dataset& dataset, const std::function<float(int32_t, int32_t)>& score) {
  RankingSums sums;
  for (int32_t user = 0; user < dataset.users(); ++user) {
    const int32_t last = EvaluationInput(dataset, user, Split::kTest).back();
    std::vector<float> scores;
    for (int32_t item = 0; item < dataset.items(); ++item) scores.push_back(score(last, item));
    sums.Add(RankOf(scores, dataset.test_target(user)));
  }
  return sums.Recall(10);
}

TEST(Synth, FilesAreNamedAfterTheFolderAndEveryUserHasFiveInteractions) {
  const std::string folder = TestFolder() + "/shop/";
  ASSERT_TRUE(WriteSynthetic(Options(), folder).ok());
  EXPECT_TRUE(PathExists(folder + "shop.inter"));
  EXPECT_TRUE(PathExists(folder + "shop.item"));
  const auto dataset = LoadAll(folder);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->users(), 600);
  EXPECT_EQ(dataset->stats().items_before, 200);
  EXPECT_EQ(dataset->stats().items_without_title, 0);
  EXPECT_NEAR(dataset->stats().mean_length, 8, .5);
  for (int32_t user = 0; user < dataset->users(); ++user) {
    EXPECT_GE(dataset->history(user).size(), 5u);
  }
}

TEST(Synth, IsAFunctionOfTheSeed) {
  const std::string folder = TestFolder();
  ASSERT_TRUE(WriteSynthetic(Options(3), folder + "/d").ok());
  const std::string first = LoadAll(folder + "/d")->content_hash();
  ASSERT_TRUE(WriteSynthetic(Options(3), folder + "/d").ok());
  EXPECT_EQ(LoadAll(folder + "/d")->content_hash(), first);
  ASSERT_TRUE(WriteSynthetic(Options(4), folder + "/d").ok());
  EXPECT_NE(LoadAll(folder + "/d")->content_hash(), first);
}

TEST(Synth, WhatFollowsWhatBeatsPopularityByFar) {
  const std::string folder = TestFolder() + "/d";
  ASSERT_TRUE(WriteSynthetic(Options(), folder).ok());
  const auto dataset = LoadAll(folder);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  std::vector<float> popularity(static_cast<size_t>(dataset->items()), 0);
  std::map<std::pair<int32_t, int32_t>, float> follows;
  for (int32_t user = 0; user < dataset->users(); ++user) {
    const auto items = dataset->training_items(user);
    for (size_t k = 0; k < items.size(); ++k) {
      popularity[static_cast<size_t>(items[k])] += 1;
      if (k > 0) follows[{items[k - 1], items[k]}] += 1000;
    }
  }
  const double popular = Recall(
      *dataset, [&](int32_t, int32_t item) { return popularity[static_cast<size_t>(item)]; });
  const double markov = Recall(*dataset, [&](int32_t last, int32_t item) {
    const auto found = follows.find({last, item});
    return popularity[static_cast<size_t>(item)] + (found == follows.end() ? 0 : found->second);
  });
  EXPECT_GT(popular, 1.5 * 10 / dataset->items());  // popularity is skewed
  EXPECT_GT(markov, 2 * popular);
}

TEST(Synth, ImpossibleOptionsAreUsageErrors) {
  const std::string folder = TestFolder() + "/d";
  const auto is_usage_error = [&](const std::function<void(SynthOptions*)>& change) {
    SynthOptions options = Options();
    change(&options);
    return ExitCodeOf(WriteSynthetic(options, folder)) == kExitUsage;
  };
  EXPECT_TRUE(is_usage_error([](SynthOptions* o) { o->users = 0; }));
  EXPECT_TRUE(is_usage_error([](SynthOptions* o) { o->items = 3; }));
  EXPECT_TRUE(is_usage_error([](SynthOptions* o) { o->mean_length = 2; }));
  EXPECT_TRUE(is_usage_error([](SynthOptions* o) { o->bundle_probability = 1.5; }));
  EXPECT_FALSE(PathExists(folder));
  EXPECT_EQ(ExitCodeOf(WriteSynthetic(Options(), "/")), kExitUsage);
}

}  // namespace
}  // namespace mixrec::data
