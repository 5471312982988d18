// One model trained by several ranks against parameter servers: the same as by one, and as with the
// tables in the process.
#include <gtest/gtest.h>

#include "rank_training.h"
#include "served_rank_training.h"
#include "training_records.h"
#include "worker/checkpoint.h"

namespace mixrec::worker {
namespace {

class SharedServedTrainingTest : public RankTrainingTest {
 protected:
  void SetUp() override {
    RankTrainingTest::SetUp();
    options_.batch = 7;
  }

  RankResults Train(const std::string& run, int ranks, int shards) {
    return TrainServedRanks(*world_, ranks, shards, model_, options_, run);
  }
};

TEST_F(SharedServedTrainingTest, LossCurvesDoNotDependOnRanksAndPlacement) {
  options_.learning_rate = 5e-5;
  options_.epochs = 6;
  const std::string alone = Run("alone");
  ASSERT_TRUE(TrainRun(*world_, model_, options_, alone).ok());
  ASSERT_GE(Losses(alone).size(), 50u);
  for (const int ranks : {1, 2, 4}) {
    const std::string run = Run(StrCat("ranks-", ranks));
    ExpectAllOk(Train(run, ranks, /*shards=*/3));
    ExpectEqualCurves(alone, run);
  }
}

TEST_F(SharedServedTrainingTest, TheSameLayoutGivesTheSameBits) {
  const std::string once = Run("once"), twice = Run("twice");
  ExpectAllOk(Train(once, 3, 2));
  ExpectAllOk(Train(twice, 3, 2));
  EXPECT_EQ(Losses(once), Losses(twice));
  ExpectSameTensors(*FindCheckpoint(once, "last") + "/model.safetensors",
                    *FindCheckpoint(twice, "last") + "/model.safetensors");
}

TEST_F(SharedServedTrainingTest, ACheckpointGoesOnWithOtherRanksAndShards) {
  options_.batch = 2;  // fewer users than ranks at times
  options_.epochs = 1;
  const std::string whole = Run("whole");
  ExpectAllOk(Train(whole, 2, 2));
  for (const int ranks : {0, 1, 2, 3}) {
    const std::string parts = Run(StrCat("parts-", ranks));
    options_.simulate_preemption = 7;
    for (const auto& stopped : Train(parts, 2, 2)) {
      ASSERT_TRUE(absl::IsCancelled(stopped.status())) << stopped.status();
    }
    options_.simulate_preemption = 0;
    if (ranks == 0) {
      const auto embedded = TrainRun(*world_, model_, options_, parts);
      ASSERT_TRUE(embedded.ok()) << embedded.status();
    } else {
      ExpectAllOk(Train(parts, ranks, ranks));
    }
    if (ranks == 2) {
      EXPECT_EQ(Losses(whole), Losses(parts));
    }
    ExpectClose(Losses(whole), Losses(parts), 1e-4);
  }
}

}  // namespace
}  // namespace mixrec::worker
