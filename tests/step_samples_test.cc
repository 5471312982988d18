// What a step's users, and what of them, is drawn from the seed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "tests/batch_fixture.h"

namespace mixrec::data {
namespace {

using ::testing::ElementsAre;

bool SameSamples(const UserSamples& a, const UserSamples& b) {
  return a.user == b.user && a.queries == b.queries && a.positives == b.positives &&
         a.negatives == b.negatives && a.bpr_positives == b.bpr_positives &&
         a.bpr_negatives == b.bpr_negatives;
}

TEST(StepSamples, AUsersSamplesDoNotDependOnTheOthersOfTheStep) {
  const World world;
  const BatchOptions options = Options();
  const StepSamples alone =
      SampleStep(world.dataset, world.hard_samples, options, 4, std::vector<int32_t>{9});
  const StepSamples together =
      SampleStep(world.dataset, world.hard_samples, options, 4, std::vector<int32_t>{2, 9, 12});
  EXPECT_TRUE(SameSamples(alone.users[0], together.users[1]));
  const StepSamples later =
      SampleStep(world.dataset, world.hard_samples, options, 5, std::vector<int32_t>{9});
  EXPECT_FALSE(SameSamples(alone.users[0], later.users[0]));
}

TEST(StepSamples, ContrastAndBprDrawFromStreamsOfTheirOwn) {
  const World world;
  BatchOptions options = Options();
  const std::vector<int32_t> users{9};
  const auto with = SampleStep(world.dataset, world.hard_samples, options, 0, users);
  options.use_cf = false;
  const auto without = SampleStep(world.dataset, world.hard_samples, options, 0, users);
  EXPECT_EQ(with.users[0].negatives, without.users[0].negatives);
  EXPECT_TRUE(without.users[0].bpr_positives.empty());
  options.use_cf = true;
  options.use_alignment = options.use_contrast = false;
  const auto only_bpr = SampleStep(world.dataset, world.hard_samples, options, 0, users);
  EXPECT_EQ(with.users[0].bpr_negatives, only_bpr.users[0].bpr_negatives);
}

TEST(StepSamples, BprNegativesLieOutsideS) {
  const World world;
  const PackedBatch batch = world.Train(Options(), {0, 3, 6});
  size_t pairs = 0;
  for (const int32_t user : {0, 3, 6}) pairs += world.dataset.training_items(user).size();
  ASSERT_EQ(batch.bpr_user.size(), pairs);
  for (size_t k = 0; k < pairs; ++k) {
    const int32_t user = batch.user_ids[static_cast<size_t>(batch.bpr_user[k])];
    const auto items = world.dataset.training_items(user);
    const auto holds = [&](int32_t index) {
      return std::count(items.begin(), items.end(), batch.item_ids[static_cast<size_t>(index)]) > 0;
    };
    EXPECT_TRUE(holds(batch.bpr_positive[k]));
    EXPECT_FALSE(holds(batch.bpr_negative[k]));
  }
}

TEST(StepSamples, AUserWithTwoTrainingItemsHasOneInputAndFewerQueries) {
  const Dataset dataset =
      Dataset::FromHistories({{0, 1, 2, 3}}, std::vector<std::string>(kItems, "t"));
  const UniformNonCooccurring hard_samples(dataset);
  const PackedBatch batch = BuildTrainingBatch(dataset, MakeCatalogue(), hard_samples, Options(), 0,
                                               std::vector<int32_t>{0});
  EXPECT_THAT(batch.targets, ElementsAre(1));
  EXPECT_THAT(batch.cl_query, ElementsAre(0));
}

TEST(StepSamples, EpochOrderIsAPermutationOfSeedAndEpoch) {
  std::vector<int32_t> users(100);
  std::iota(users.begin(), users.end(), 5);
  const auto order = EpochOrder(1, 2, users);
  EXPECT_THAT(order, ::testing::UnorderedElementsAreArray(users));
  EXPECT_EQ(order, EpochOrder(1, 2, users));
  EXPECT_NE(order, EpochOrder(1, 3, users));
  EXPECT_NE(order, EpochOrder(2, 2, users));
}

TEST(StepSamples, SampledUsersAreAFractionOfThem) {
  std::vector<int32_t> users(100);
  std::iota(users.begin(), users.end(), 0);
  const auto chosen = SampleUsers(1, .2, users);
  EXPECT_EQ(chosen.size(), 20u);
  EXPECT_TRUE(std::is_sorted(chosen.begin(), chosen.end()));
  EXPECT_EQ(std::set<int32_t>(chosen.begin(), chosen.end()).size(), 20u);
  EXPECT_EQ(SampleUsers(1, 1, users), users);
  EXPECT_EQ(SampleUsers(1, 1e-9, users).size(), 1u);
}

}  // namespace
}  // namespace mixrec::data
