// One model trained by several ranks: the same as by one, whatever becomes of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "rank_training.h"
#include "training_records.h"
#include "worker/checkpoint.h"

namespace mixrec::worker {
namespace {

using ::testing::HasSubstr;

class SharedTrainingTest : public RankTrainingTest {
 protected:
  void Train(const std::string& run, int ranks) {
    if (ranks == 0) {
      const auto result = TrainRun(*world_, model_, options_, run);
      ASSERT_TRUE(result.ok()) << result.status();
    } else {
      ExpectAllOk(TrainRanks(*world_, ranks, model_, options_, run));
    }
  }
  void ExpectSameCheckpoints(const std::string& a, const std::string& b) const {
    for (const char* file : {"/model.safetensors", "/optimizer.safetensors"}) {
      ExpectSameTensors(*FindCheckpoint(a, "last") + file, *FindCheckpoint(b, "last") + file);
    }
  }
};

// 60 users in steps of 7: the last of an epoch has 4.
TEST_F(SharedTrainingTest, LossCurvesDoNotDependOnTheNumberOfRanks) {
  options_.learning_rate = 5e-5;
  options_.batch = 7;
  options_.epochs = 6;
  const std::string alone = Run("alone");
  Train(alone, 0);
  ASSERT_GE(Losses(alone).size(), 50u);
  for (const int ranks : {1, 2, 4}) {
    const std::string run = Run(StrCat("ranks-", ranks));
    Train(run, ranks);
    ExpectEqualCurves(alone, run, 1e-5);
  }
}

TEST_F(SharedTrainingTest, TheSameLayoutGivesTheSameBits) {
  const std::string once = Run("once"), twice = Run("twice");
  Train(once, 3);
  Train(twice, 3);
  EXPECT_EQ(Losses(once), Losses(twice));
  ExpectSameCheckpoints(once, twice);
}

TEST_F(SharedTrainingTest, EveryModelAndClippingAreShared) {
  options_.clip_norm = 0.05;
  options_.epochs = 1;
  options_.learning_rate = 1e-3;
  for (const model::Mode mode : {model::Mode::kLlmrec, model::Mode::kBase, model::Mode::kMixrec}) {
    model_.mode = mode;
    for (const double lambda : {0.0, 0.5}) {
      model_.lambda_align = lambda;
      const std::string name = StrCat(model::ModeName(mode), lambda);
      const std::string alone = Run(name), shared = Run(name + "-shared");
      Train(alone, 0);
      Train(shared, 3);
      ExpectEqualCurves(alone, shared, 2e-5);
    }
  }
}

TEST_F(SharedTrainingTest, RanksWithoutUsersTakePart) {
  options_.batch = 2;
  options_.epochs = 1;
  const std::string alone = Run("alone"), shared = Run("shared");
  Train(alone, 0);
  Train(shared, 5);
  ExpectEqualCurves(alone, shared, 1e-5);
}

TEST_F(SharedTrainingTest, ACheckpointGoesOnWithAnyNumberOfRanks) {
  const std::string whole = Run("whole");
  Train(whole, 2);
  for (const int ranks : {0, 1, 2, 3, 4}) {
    const std::string parts = Run(StrCat("parts-", ranks));
    options_.simulate_preemption = 5;
    for (const auto& stopped : TrainRanks(*world_, 2, model_, options_, parts)) {
      ASSERT_TRUE(absl::IsCancelled(stopped.status())) << stopped.status();
    }
    options_.simulate_preemption = 0;
    Train(parts, ranks);
    ExpectEqualCurves(whole, parts, 1e-5);
    if (ranks == 2) {
      EXPECT_EQ(Losses(whole), Losses(parts));
      ExpectSameCheckpoints(whole, parts);
    }
  }
}

TEST_F(SharedTrainingTest, AnyRankStopsAllAfterTheSameStep) {
  std::atomic<int> asked{0};
  const std::string run = Run("run");
  collective::LocalWorld group_world(3);
  RankResults results(3, absl::UnknownError("did not run"));
  collective::RunRanks(&group_world, 3, [&](collective::Group* group) {
    TrainInputs inputs = world_->inputs();
    inputs.group = group;
    TrainOptions options = options_;
    if (group->rank() == 2) options.stop = [&asked] { return ++asked > 4; };
    auto trainer = Trainer::Create(inputs, model_, options, run);
    ASSERT_TRUE(trainer.ok()) << trainer.status();
    results[static_cast<size_t>(group->rank())] = (*trainer)->Run();
  });
  for (const auto& result : results) {
    EXPECT_TRUE(absl::IsCancelled(result.status())) << result.status();
    EXPECT_THAT(std::string(result.status().message()), HasSubstr("after step 4 "));
  }
  EXPECT_TRUE(FindCheckpoint(run, "last").ok());
}

TEST_F(SharedTrainingTest, ALossThatIsNotFiniteEndsAllAlike) {
  options_.learning_rate = 1e3;
  for (const auto& result : TrainRanks(*world_, 2, model_, options_, Run("run"))) {
    EXPECT_EQ(ExitCodeOf(result.status()), kExitFailure);
    EXPECT_THAT(std::string(result.status().message()), HasSubstr("not finite"));
  }
}

// What the death of a process is to the thread that stands for it.
struct Death {};

TEST_F(SharedTrainingTest, ARankThatDiesEndsTheOthersWithItsName) {
  collective::LocalWorld group_world(3);
  const std::string run = Run("run");
  options_.checkpoint_steps = 2;
  RankResults results(3, absl::UnknownError("did not run"));
  collective::RunRanks(&group_world, 3, [&](collective::Group* group) {
    TrainInputs inputs = world_->inputs();
    inputs.group = group;
    TrainOptions options = options_;
    int steps = 0;
    options.stop = [&]() -> bool {
      if (group->rank() != 1 || ++steps < 5) return false;
      group_world.Kill(1);
      throw Death();
    };
    auto trainer = Trainer::Create(inputs, model_, options, run);
    ASSERT_TRUE(trainer.ok()) << trainer.status();
    try {
      results[static_cast<size_t>(group->rank())] = (*trainer)->Run();
    } catch (const Death&) {
    }
  });
  EXPECT_TRUE(absl::IsUnknown(results[1].status()));
  for (const int rank : {0, 2}) {
    const absl::Status status = results[static_cast<size_t>(rank)].status();
    EXPECT_EQ(ExitCodeOf(status), kExitFailure);
    EXPECT_THAT(std::string(status.message()), HasSubstr("rank 1 on local has died"));
  }
  const auto checkpoint = FindCheckpoint(run, "last");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  options_.stop = nullptr;
  const std::string whole = Run("whole");
  Train(whole, 3);
  Train(run, 3);
  ExpectSameCheckpoints(whole, run);
}

TEST_F(SharedTrainingTest, OptionsThatARankCannotHaveEndAllBeforeTheFirstStep) {
  collective::LocalWorld group_world(2);
  collective::RunRanks(&group_world, 2, [&](collective::Group* group) {
    TrainInputs inputs = world_->inputs();
    inputs.group = group;
    TrainOptions options = options_;
    if (group->rank() == 1) options.batch = 0;
    const auto trainer = Trainer::Create(inputs, model_, options, Run("run"));
    EXPECT_EQ(ExitCodeOf(trainer.status()), kExitUsage);
    EXPECT_THAT(std::string(trainer.status().message()), HasSubstr("--batch=0"));
    if (group->rank() == 0) {
      EXPECT_THAT(std::string(trainer.status().message()), HasSubstr("rank 1 on local"));
    }
  });
}

}  // namespace
}  // namespace mixrec::worker
