// Training against parameter servers as they are: shards and sessions on ZeroMQ, threads of this
// process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ps_cluster.h"
#include "training_records.h"
#include "worker/checkpoint.h"
#include "worker_fixture.h"

namespace mixrec::worker {
namespace {

class ServedTrainingTest : public ::testing::Test {
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

  absl::StatusOr<TrainResult> Train(const std::string& run, ps::Session* session) {
    TrainInputs inputs = world_->inputs();
    inputs.placement.session = session;
    return TrainRun(inputs, model_, options_, run);
  }

  std::string folder_;
  std::unique_ptr<World> world_;
  model::ModelOptions model_;
  TrainOptions options_;
};

TEST_F(ServedTrainingTest, LossesEqualThoseOfEmbeddedTables) {
  options_.epochs = 7;
  const std::string embedded = Run("embedded");
  ASSERT_TRUE(Train(embedded, nullptr).ok());
  ASSERT_GE(Losses(embedded).size(), 50u);
  const ps::Cluster cluster(3);
  for (const ps::Consistency consistency :
       {ps::Consistency::kBsp, ps::Consistency::kSsp, ps::Consistency::kAsp}) {
    const std::string name = StrCat("served", static_cast<int>(consistency));
    ps::SessionOptions session = cluster.Options(name);
    session.consistency = consistency;
    session.message_bytes = 4096;  // several messages a request
    const auto open = cluster.Open(session);
    ASSERT_NE(open, nullptr);
    const auto result = Train(Run(name), open.get());
    ASSERT_TRUE(result.ok()) << result.status();
    SCOPED_TRACE(name);
    // Rows that were prefetched in asp may lack the last update.
    const double tolerance = consistency == ps::Consistency::kAsp ? 1e-2 : 1e-5;
    ExpectClose(Losses(embedded), Losses(Run(name)), tolerance);
  }
}

TEST_F(ServedTrainingTest, AStoppedRunGoesOnWithTheSameBitsOnFreshServers) {
  const std::string whole = Run("whole"), parts = Run("parts");
  {
    const ps::Cluster cluster(2);
    ASSERT_TRUE(Train(whole, cluster.Open().get()).ok());
  }
  for (const int64_t stop : {5, 0}) {
    const ps::Cluster cluster(2);
    options_.simulate_preemption = stop;
    const auto result = Train(parts, cluster.Open().get());
    EXPECT_TRUE(stop == 0 ? result.ok() : absl::IsCancelled(result.status())) << result.status();
  }
  EXPECT_EQ(Losses(whole), Losses(parts));
  ExpectSameTensors(*FindCheckpoint(whole, "last") + "/model.safetensors",
                    *FindCheckpoint(parts, "last") + "/model.safetensors");
  const auto left = LoadModel(*FindCheckpoint(whole, "last"), world_->backbone, world_->dataset);
  const auto right = LoadModel(*FindCheckpoint(parts, "last"), world_->backbone, world_->dataset);
  ASSERT_TRUE(left.ok() && right.ok()) << left.status() << right.status();
  for (const auto& [name, tensor] : left->state->Trainable()) {
    EXPECT_TRUE(at::equal(tensor, right->state->Tensor(name))) << name;
  }
}

// A process that dies leaves rows of later steps on the servers; the next one must not see them.
TEST_F(ServedTrainingTest, ARestartFindsNothingOfAnEarlierProcess) {
  const std::string whole = Run("whole"), again = Run("again");
  const ps::Cluster cluster(2);
  ASSERT_TRUE(Train(whole, cluster.Open(cluster.Options("whole")).get()).ok());
  const ps::SessionOptions space = cluster.Options("again");
  ASSERT_TRUE(Train(Run("lost"), cluster.Open(space).get()).ok());  // of which nothing is kept
  ASSERT_TRUE(cluster.Open(space)->Drop().ok());
  ASSERT_TRUE(Train(again, cluster.Open(space).get()).ok());
  EXPECT_EQ(Losses(whole), Losses(again));
}

}  // namespace
}  // namespace mixrec::worker
