#include "worker/search_objective.h"

#include <gtest/gtest.h>

#include "rank_threads.h"
#include "worker/checkpoint.h"
#include "worker_fixture.h"

namespace mixrec::worker {
namespace {

class SearchObjectiveTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = TestFolder();
    world_ = std::make_unique<World>(folder_);
  }
  void TearDown() override { ClearStopRequest(); }

  SearchObjective Objective(const std::string& name, int64_t preempt_at = 0) const {
    SearchObjectiveOptions options;
    options.train = SmallTraining();
    options.train.simulate_preemption = preempt_at;
    options.fraction = 0.5;
    options.folder = Subfolder(folder_, name);
    return SearchObjective(world_->inputs(), SmallModel(), options);
  }

  std::string folder_;
  std::unique_ptr<World> world_;
};

TEST_F(SearchObjectiveTest, ValueIsTheBestEpochOfTheSubset) {
  SearchObjective objective = Objective("trials");
  EXPECT_EQ(objective.users().size(), data::TrainableUsers(world_->dataset).size() / 2);
  std::vector<double> told;
  const auto outcome = objective.Evaluate(0, "010011", [&](int epoch, double mrr) {
    told.push_back(mrr);
    EXPECT_EQ(epoch, static_cast<int>(told.size()));
    return true;
  });
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(outcome->value, std::max(told[0], told[1]));
  EXPECT_GT(outcome->value, 0);
}

// Rank 0's folder holds the trial, its callback ends it, and a stop request of any rank stops all.
TEST_F(SearchObjectiveTest, RanksTrainATrialTogether) {
  const auto alone = Objective("alone").Evaluate(0, "010011");
  ASSERT_TRUE(alone.ok()) << alone.status();
  const auto evaluate = [&](collective::LocalWorld* group_world, bool stops) {
    std::vector<absl::StatusOr<TrialOutcome>> outcomes(2, absl::UnknownError("did not run"));
    collective::RunRanks(group_world, 2, [&](collective::Group* group) {
      TrainInputs inputs = world_->inputs();
      inputs.group = group;
      SearchObjectiveOptions options;
      options.train = SmallTraining();
      options.fraction = 0.5;
      options.folder = group->rank() == 0 ? Subfolder(folder_, "together") : "/nowhere";
      TrialSpec trial;
      trial.bits = "010011";
      if (stops && group->rank() == 1) trial.stop = [] { return true; };
      outcomes[static_cast<size_t>(group->rank())] =
          SearchObjective(inputs, SmallModel(), options).Evaluate(trial);
    });
    return outcomes;
  };
  collective::LocalWorld group_world(2);
  for (const auto& stopped : evaluate(&group_world, true)) {
    EXPECT_TRUE(absl::IsCancelled(stopped.status())) << stopped.status();
  }
  for (int again = 0; again < 2; ++again) {  // the second time it has finished
    for (const auto& outcome : evaluate(&group_world, false)) {
      ASSERT_TRUE(outcome.ok()) << outcome.status();
      EXPECT_NEAR(outcome->value, alone->value, 1e-3);
      EXPECT_EQ(outcome->epochs, 2);
    }
  }
}

TEST_F(SearchObjectiveTest, StoppedTrialGoesOnToTheSameValue) {
  const auto expected = Objective("whole").Evaluate(3, "010011");
  ASSERT_TRUE(expected.ok()) << expected.status();
  const auto stopped = Objective("parts", 6).Evaluate(3, "010011");
  ASSERT_TRUE(absl::IsCancelled(stopped.status())) << stopped.status();
  ClearStopRequest();
  std::vector<int> epochs;
  const auto resumed = Objective("parts").Evaluate(3, "010011", [&](int epoch, double) {
    epochs.push_back(epoch);
    return true;
  });
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ(resumed->value, expected->value);
  EXPECT_EQ(epochs, (std::vector<int>{1, 2}));
}

TEST_F(SearchObjectiveTest, FinishedTrialIsNotTrainedAgainAndKeepsNoWeights) {
  const auto first = Objective("trials").Evaluate(0, "111111");
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_FALSE(PathExists(CheckpointsFolder(folder_ + "/trials/trial-0")));
  const auto again = Objective("trials").Evaluate(0, "111111");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->value, first->value);
  EXPECT_EQ(again->seconds, 0);
}

TEST_F(SearchObjectiveTest, FolderOfAnotherArchitectureIsNotTakenUp) {
  const auto serial = Objective("trials").Evaluate(0, "000000");
  const auto parallel = Objective("trials").Evaluate(0, "111111");
  const auto fresh = Objective("fresh").Evaluate(0, "111111");
  ASSERT_TRUE(serial.ok() && parallel.ok() && fresh.ok());
  EXPECT_EQ(parallel->value, fresh->value);
  EXPECT_GT(parallel->seconds, 0);
}

TEST_F(SearchObjectiveTest, CallbackEndsATrial) {
  const auto outcome = Objective("trials").Evaluate(0, "000000", [](int, double) { return false; });
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->epochs, 1);
}

}  // namespace
}  // namespace mixrec::worker
