#include "worker/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "worker/checkpoint.h"
#include "worker_fixture.h"

namespace mixrec::worker {
namespace {

using ::testing::HasSubstr;

class TrainerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = TestFolder();
    world_ = std::make_unique<World>(folder_);
  }
  void TearDown() override { ClearStopRequest(); }
  std::string Run(const std::string& name) const { return Subfolder(folder_, name); }

  std::string folder_;
  std::unique_ptr<World> world_;
};

// metrics.jsonl without what depends on the clock.
std::vector<std::string> Records(const std::string& run) {
  std::istringstream text(*ReadFile(run + "/metrics.jsonl"));
  std::vector<std::string> records;
  for (std::string line; std::getline(text, line);) {
    auto record = nlohmann::json::parse(line);
    for (const char* field : {"time", "tokens_per_second", "users_per_second"}) record.erase(field);
    records.push_back(record.dump());
  }
  return records;
}

void ExpectSameRuns(const std::string& a, const std::string& b) {
  for (const char* which : {"best", "last"}) {
    for (const char* file : {"model.safetensors", "optimizer.safetensors"}) {
      ExpectSameTensors(*FindCheckpoint(a, which) + "/" + file,
                        *FindCheckpoint(b, which) + "/" + file);
    }
  }
  EXPECT_EQ(Records(a), Records(b));
}

TEST_F(TrainerTest, StoppedAndResumedRunEqualsAnUninterruptedOneBitForBit) {
  model::ModelOptions model = SmallModel();
  model.dropout = 0.2;
  TrainOptions options = SmallTraining();
  const std::string whole = Run("whole"), parts = Run("parts");
  const auto expected = TrainRun(*world_, model, options, whole);
  ASSERT_TRUE(expected.ok()) << expected.status();
  const int64_t middle = expected->steps / 2;
  for (const int64_t stop : {int64_t{2}, middle, middle + 3}) {  // middle: the end of an epoch
    options.simulate_preemption = stop;
    const auto stopped = TrainRun(*world_, model, options, parts);
    ASSERT_TRUE(absl::IsCancelled(stopped.status())) << stopped.status();
    EXPECT_EQ(ExitCodeOf(stopped.status()), kExitStopped);
    EXPECT_THAT(std::string(stopped.status().message()), HasSubstr(StrCat("after step ", stop)));
  }
  options.simulate_preemption = 0;
  const auto resumed = TrainRun(*world_, model, options, parts);
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ(resumed->validation_mrr, expected->validation_mrr);
  EXPECT_EQ(resumed->best_epoch, expected->best_epoch);
  ExpectSameRuns(whole, parts);
}

// The step that a stopped run says it has done last.
int64_t StepOf(const absl::Status& stopped) {
  const std::string message(stopped.message()), before = "after step ";
  const size_t place = message.find(before);
  EXPECT_NE(place, std::string::npos) << stopped;
  return place == std::string::npos ? 0 : std::stoll(message.substr(place + before.size()));
}

// Where steps are padded, one begins before the losses of the one before are read.
TEST_F(TrainerTest, AStopOrACheckpointComesBeforeAStepThatWouldBeginAhead) {
  for (const bool asked : {false, true}) {
    SCOPED_TRACE(asked);
    TrainOptions options = SmallTraining();
    options.padding = StepPadding::kAlways;
    int64_t questions = 0;
    if (asked) {
      options.stop = [&] { return ++questions > 2; };
    } else {
      options.checkpoint_steps = 2;
      options.simulate_preemption = 5;
    }
    const std::string ahead = Run(StrCat("ahead", asked)), plain = Run(StrCat("plain", asked));
    const int64_t step = StepOf(TrainRun(*world_, SmallModel(), options, ahead).status());
    EXPECT_GE(step, 2);
    TrainOptions unpadded = SmallTraining();
    unpadded.simulate_preemption = step;
    EXPECT_EQ(StepOf(TrainRun(*world_, SmallModel(), unpadded, plain).status()), step);
    for (const char* file : {"/model.safetensors", "/optimizer.safetensors"}) {
      const auto wanted = ReadTensors(*FindCheckpoint(plain, "last") + file);
      const auto found = ReadTensors(*FindCheckpoint(ahead, "last") + file);
      ASSERT_EQ(wanted.size(), found.size());
      for (const auto& [name, tensor] : wanted) {
        if (name.find("cf.predict.bias") != std::string::npos)
          continue;  // its gradient is rounding
        EXPECT_TRUE(at::allclose(tensor, found.at(name), 1e-3, 1e-5)) << name;
      }
    }
  }
}

TEST_F(TrainerTest, KilledRunGoesOnFromItsLastCheckpoint) {
  TrainOptions options = SmallTraining();
  const std::string whole = Run("whole"), killed = Run("killed");
  ASSERT_TRUE(TrainRun(*world_, SmallModel(), options, whole).ok());
  // A process that dies right after the first epoch's checkpoint, with metrics already ahead of it.
  ASSERT_TRUE(TrainRun(*world_, SmallModel(), options, killed, [](const EpochReport&) {
                return false;
              }).ok());
  ASSERT_TRUE(TrainRun(*world_, SmallModel(), options, killed).ok());
  ExpectSameRuns(whole, killed);
}

TEST_F(TrainerTest, FinishedRunIsNotTrainedAgain) {
  const std::string run = Run("run");
  const auto first = TrainRun(*world_, SmallModel(), SmallTraining(), run);
  ASSERT_TRUE(first.ok()) << first.status();
  const auto again = TrainRun(*world_, SmallModel(), SmallTraining(), run);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->steps, first->steps);
  EXPECT_EQ(again->last_checkpoint, first->last_checkpoint);
  EXPECT_EQ(again->validation_mrr, first->validation_mrr);
}

TEST_F(TrainerTest, StopRequestBeforeTheFirstStepLeavesACheckpoint) {
  RequestStop();
  const std::string run = Run("run");
  const auto result = TrainRun(*world_, SmallModel(), SmallTraining(), run);
  EXPECT_TRUE(absl::IsCancelled(result.status())) << result.status();
  EXPECT_TRUE(FindCheckpoint(run, "last").ok());
  EXPECT_FALSE(FindCheckpoint(run, "best").ok());
}

TEST_F(TrainerTest, ChangedOptionsAreRefusedByName) {
  const std::string run = Run("run");
  TrainOptions options = SmallTraining();
  options.simulate_preemption = 2;
  EXPECT_FALSE(TrainRun(*world_, SmallModel(), options, run).ok());
  options.learning_rate = 1e-3;
  const auto refused = TrainRun(*world_, SmallModel(), options, run);
  EXPECT_EQ(ExitCodeOf(refused.status()), kExitUsage);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("lr (was 0.003, now 0.001)"));
  options.allow_changed_options = true;
  const auto allowed = TrainRun(*world_, SmallModel(), options, run);
  EXPECT_TRUE(allowed.ok()) << allowed.status();
}

TEST_F(TrainerTest, LossThatIsNotFiniteEndsTheRunNamingStepAndParts) {
  TrainOptions options = SmallTraining();
  options.learning_rate = 1e3;
  const auto result = TrainRun(*world_, SmallModel(), options, Run("run"));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(ExitCodeOf(result.status()), kExitFailure);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("not finite"));
}

TEST_F(TrainerTest, UntrainedModelIsTheCheckpointOfZeroEpochs) {
  TrainOptions options = SmallTraining();
  options.epochs = 0;
  const auto result = TrainRun(*world_, SmallModel(), options, Run("run"));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->steps, 0);
  EXPECT_EQ(result->best_checkpoint, result->last_checkpoint);
}

TEST_F(TrainerTest, ItemProjectionCanStartAtTheModelsOwnStates) {
  TrainOptions options = SmallTraining();
  options.item_init = ItemInit::kStates;
  const auto trainer = Trainer::Create(world_->inputs(), SmallModel(), options, Run("run"));
  ASSERT_TRUE(trainer.ok()) << trainer.status();
  const at::Tensor rows = (*trainer)->state()->Tensor("item_proj.weight");
  EXPECT_TRUE(at::allclose(at::linalg_vector_norm(rows, 2, {1}),
                           at::full({rows.size(0)}, 0.02 * std::sqrt(32.0)), 1e-4));
  EXPECT_GT((rows[0] - rows[1]).abs().max().item<double>(), 1e-3);
}

// The MRR of ranking all users' items by how often they occur in training.
double PopularityMrr(const data::Dataset& dataset) {
  std::vector<float> counts(static_cast<size_t>(dataset.items()), 0);
  for (int32_t user = 0; user < dataset.users(); ++user) {
    for (const int32_t item : dataset.training_items(user)) counts[static_cast<size_t>(item)] += 1;
  }
  data::RankingSums sums;
  for (int32_t user = 0; user < dataset.users(); ++user) {
    sums.Add(data::RankOf(counts, dataset.validation_target(user)));
  }
  return sums.Mrr();
}

TEST_F(TrainerTest, LearnsMoreThanPopularity) {
  const World world(Subfolder(folder_, "larger"), 300, 60);
  TrainOptions options = SmallTraining();
  options.epochs = 6;
  options.learning_rate = 1e-2;
  options.batch = 12;
  options.item_init = ItemInit::kStates;
  std::vector<double> losses;
  const auto result = TrainRun(world, SmallModel(), options, Run("run"), [&](const EpochReport& r) {
    losses.push_back(r.losses.total);
    return true;
  });
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_LT(losses.back(), losses.front());
  EXPECT_GT(result->best_mrr, 1.2 * PopularityMrr(world.dataset));
}

}  // namespace
}  // namespace mixrec::worker
