// Training with its tables on servers is training: the same losses, checkpoints and scores as with
// embedded tables, and a way from either to the other.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>

#include "tests/fake_session.h"
#include "training_records.h"
#include "worker/checkpoint.h"
#include "worker/recommender.h"
#include "worker_fixture.h"

namespace mixrec::worker {
namespace {

using ::testing::HasSubstr;

class PlacementTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = TestFolder();
    world_ = std::make_unique<World>(folder_);
    model_ = SmallModel();
    model_.dropout = 0.2;
    options_ = SmallTraining();
  }
  void TearDown() override { ClearStopRequest(); }
  std::string Run(const std::string& name) const { return Subfolder(folder_, name); }

  // Trains with tables in `session` (null: embedded).
  absl::StatusOr<TrainResult> Train(const std::string& run, ps::Session* session,
                                    const TrainOptions& options,
                                    const ps::Sampling& sampling = {}) {
    TrainInputs inputs = world_->inputs();
    inputs.placement = {session, sampling};
    return TrainRun(inputs, model_, options, run);
  }

  std::string folder_;
  std::unique_ptr<World> world_;
  model::ModelOptions model_;
  TrainOptions options_;
};

std::string Last(const std::string& run) { return *FindCheckpoint(run, "last"); }

TEST_F(PlacementTest, LossesOfServedTablesEqualThoseOfEmbeddedOnes) {
  options_.epochs = 7;
  const std::string embedded = Run("embedded"), served = Run("served");
  const auto expected = Train(embedded, nullptr, options_);
  ASSERT_TRUE(expected.ok()) << expected.status();
  ps::FakeSession session(3);
  const auto result = Train(served, &session, options_);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_GE(Losses(embedded).size(), 50u);
  ExpectClose(Losses(embedded), Losses(served), 1e-5);
  for (size_t k = 0; k < expected->validation_mrr.size(); ++k) {
    EXPECT_NEAR(expected->validation_mrr[k], result->validation_mrr[k], 1e-3);
  }
  EXPECT_GT(session.rank_calls, 0);
  // All steps but the first of an epoch had asked for their rows, of two tables, during the one
  // before.
  EXPECT_EQ(session.started_pulls, 2 * (result->steps - options_.epochs));
}

TEST_F(PlacementTest, AStoppedRunGoesOnWithTheSameBits) {
  const std::string whole = Run("whole"), parts = Run("parts");
  {
    ps::FakeSession session(3);
    ASSERT_TRUE(Train(whole, &session, options_).ok());
  }
  options_.simulate_preemption = 5;
  {
    ps::FakeSession session(3);
    EXPECT_TRUE(absl::IsCancelled(Train(parts, &session, options_).status()));
  }
  options_.simulate_preemption = 0;
  {
    ps::FakeSession session(3);
    const auto resumed = Train(parts, &session, options_);
    ASSERT_TRUE(resumed.ok()) << resumed.status();
  }
  EXPECT_EQ(Losses(whole), Losses(parts));
  for (const char* file : {"model.safetensors", "optimizer.safetensors"}) {
    ExpectSameTensors(StrCat(Last(whole), "/", file), StrCat(Last(parts), "/", file));
  }
  const auto left = LoadModel(Last(whole), world_->backbone, world_->dataset);
  const auto right = LoadModel(Last(parts), world_->backbone, world_->dataset);
  ASSERT_TRUE(left.ok() && right.ok()) << left.status() << right.status();
  for (const auto& [name, tensor] : left->state->Trainable()) {
    EXPECT_TRUE(at::equal(tensor, right->state->Tensor(name))) << name;
  }
}

TEST_F(PlacementTest, ARunMovesBetweenEmbeddedTablesAndAnyNumberOfServers) {
  const std::string embedded = Run("embedded"), moving = Run("moving");
  ASSERT_TRUE(Train(embedded, nullptr, options_).ok());
  struct Leg {
    int64_t stop;
    int shards;  // 0: embedded
  };
  for (const auto& [stop, shards] : {Leg{3, 0}, Leg{6, 3}, Leg{9, 2}, Leg{12, 0}, Leg{0, 7}}) {
    options_.simulate_preemption = stop;
    ps::FakeSession session(std::max(1, shards));
    const auto result = Train(moving, shards > 0 ? &session : nullptr, options_);
    ASSERT_TRUE(stop == 0 ? result.ok() : absl::IsCancelled(result.status())) << result.status();
    EXPECT_EQ(PathExists(Last(moving) + "/tables"), shards > 0);
    EXPECT_FALSE(PathExists(moving + "/.tmp-tables"));
  }
  ExpectClose(Losses(embedded), Losses(moving), 1e-5);
}

TEST_F(PlacementTest, ServedAndEmbeddedCheckpointsHoldTheSameModel) {
  const std::string embedded = Run("embedded"), served = Run("served");
  ps::FakeSession session(2);
  ASSERT_TRUE(Train(embedded, nullptr, options_).ok());
  ASSERT_TRUE(Train(served, &session, options_).ok());
  const auto expected = LoadModel(Last(embedded), world_->backbone, world_->dataset);
  const auto found = LoadModel(Last(served), world_->backbone, world_->dataset);
  ASSERT_TRUE(expected.ok() && found.ok()) << expected.status() << found.status();
  ASSERT_EQ(expected->state->Trainable().size(), found->state->Trainable().size());
  for (const auto& [name, tensor] : expected->state->Trainable()) {
    EXPECT_TRUE(at::allclose(tensor, found->state->Tensor(name), 1e-3, 1e-4)) << name;
  }
}

TEST_F(PlacementTest, ADamagedTableFileMakesTheCheckpointInvalid) {
  const std::string run = Run("run");
  ps::FakeSession session(2);
  ASSERT_TRUE(Train(run, &session, options_).ok());
  const std::string checkpoint = Last(run);
  for (const auto& entry : std::filesystem::directory_iterator(checkpoint + "/tables")) {
    if (entry.path().filename() == "tables.json") continue;
    std::filesystem::resize_file(entry.path(), std::filesystem::file_size(entry.path()) - 1);
    break;
  }
  const absl::Status status = CheckManifest(checkpoint);
  EXPECT_EQ(ExitCodeOf(status), kExitData);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/tables/"));
}

TEST_F(PlacementTest, ServedProjectionCanStartAtTheModelsOwnStates) {
  options_.item_init = ItemInit::kStates;
  options_.epochs = 1;
  const std::string embedded = Run("embedded"), served = Run("served");
  ps::FakeSession session(3);
  ASSERT_TRUE(Train(embedded, nullptr, options_).ok());
  ASSERT_TRUE(Train(served, &session, options_).ok());
  ExpectClose(Losses(embedded), Losses(served), 1e-5);
}

TEST_F(PlacementTest, ALostServerEndsTheRunWithItsMessage) {
  ps::FakeSession session(2);
  TrainInputs inputs = world_->inputs();
  inputs.placement.session = &session;
  const auto trainer = Trainer::Create(inputs, model_, options_, Run("run"));
  ASSERT_TRUE(trainer.ok()) << trainer.status();
  session.failing = true;
  const auto result = (*trainer)->Run();
  EXPECT_EQ(ExitCodeOf(result.status()), kExitFailure);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("shard 1 is lost"));
}

TEST_F(PlacementTest, SampledSoftmaxLearnsAndIsPartOfTheOptions) {
  const std::string run = Run("run");
  ps::FakeSession session(2);
  options_.epochs = 6;
  options_.learning_rate = 1e-2;
  const auto result = Train(run, &session, options_, {/*count=*/16, /*log_uniform=*/false});
  ASSERT_TRUE(result.ok()) << result.status();
  const std::vector<double> losses = Losses(run);
  const auto epoch = static_cast<int64_t>(losses.size()) / options_.epochs;
  const double first = std::accumulate(losses.begin(), losses.begin() + epoch, 0.0);
  const double last = std::accumulate(losses.end() - epoch, losses.end(), 0.0);
  EXPECT_LT(last, first - 0.1 * static_cast<double>(epoch));
  EXPECT_TRUE(LoadModel(Last(run), world_->backbone, world_->dataset).ok());
  const auto refused = Train(run, &session, options_);
  EXPECT_EQ(ExitCodeOf(refused.status()), kExitUsage);
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr("sampled_softmax (was 16, now 0)"));
}

TEST_F(PlacementTest, AnyCheckpointIsServedFromServersToo) {
  const std::string embedded = Run("embedded"), served = Run("served");
  ps::FakeSession training(2);
  ASSERT_TRUE(Train(embedded, nullptr, options_).ok());
  ASSERT_TRUE(Train(served, &training, options_).ok());
  std::vector<RecommendationQuery> queries;
  for (int32_t user = 0; user < 5; ++user) {
    const auto history = world_->dataset.history(user);
    queries.push_back({"u", user, {history.begin(), history.end()}, {}});
  }
  for (const std::string& run : {embedded, served}) {
    const auto here = LoadModel(Last(run), world_->backbone, world_->dataset);
    ps::FakeSession session(3);
    const auto there =
        LoadModel(Last(run), world_->backbone, world_->dataset, {&session, {}}, run + "/scratch");
    ASSERT_TRUE(here.ok() && there.ok()) << here.status() << there.status();
    EXPECT_FALSE(PathExists(run + "/scratch"));
    const auto expected = Recommend(world_->catalogue, queries, {}, here->state.get());
    const auto found = Recommend(world_->catalogue, queries, {}, there->state.get());
    ASSERT_TRUE(expected.ok() && found.ok()) << expected.status() << found.status();
    for (size_t k = 0; k < queries.size(); ++k) {
      ASSERT_EQ((*expected)[k].size(), (*found)[k].size());
      for (size_t i = 0; i < (*found)[k].size(); ++i) {
        EXPECT_NEAR((*expected)[k][i].score, (*found)[k][i].score, 1e-4);
      }
    }
  }
}

}  // namespace
}  // namespace mixrec::worker
