// Training by a worker group of one on a GPU, through NCCL, against training without a group.
#include <gtest/gtest.h>

#include "collective/device_group.h"
#include "collective/mpi_world.h"
#include "training_records.h"
#include "worker/checkpoint.h"
#include "worker_fixture.h"

namespace mixrec::worker {
namespace {

class SharedCudaTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!at::hasCUDA()) return;
    collective::MpiWorld::Options options;
    options.role = "train";
    auto world = collective::MpiWorld::Join(options);
    ASSERT_TRUE(world.ok()) << world.status();
    mpi_ = std::move(*world).release();
    auto group = collective::MakeDeviceGroup(mpi_, at::Device(at::kCUDA, 0));
    ASSERT_TRUE(group.ok()) << group.status();
    group_ = std::move(*group).release();
  }
  static void TearDownTestSuite() {
    delete group_;
    if (mpi_ == nullptr) return;
    EXPECT_TRUE(mpi_->SayGoodbye().ok());
    delete mpi_;
  }
  void SetUp() override {
    if (!at::hasCUDA()) GTEST_SKIP() << "no GPU";
    folder_ = TestFolder();
    world_ = std::make_unique<World>(folder_);
    model::MoveBackbone(at::Device(at::kCUDA, 0), &world_->backbone);
    model_ = SmallModel();
    model_.dropout = 0.1;
    options_ = SmallTraining();
    options_.learning_rate = 5e-5;
    options_.batch = 7;
    options_.epochs = 6;
  }
  std::string Train(const std::string& name, collective::Group* group) const {
    const std::string run = Subfolder(folder_, name);
    TrainInputs inputs = world_->inputs();
    inputs.group = group;
    const auto result = TrainRun(inputs, model_, options_, run);
    EXPECT_TRUE(result.ok()) << result.status();
    return run;
  }

  static collective::MpiWorld* mpi_;
  static collective::Group* group_;
  std::string folder_;
  std::unique_ptr<World> world_;
  model::ModelOptions model_;
  TrainOptions options_;
};

collective::MpiWorld* SharedCudaTest::mpi_ = nullptr;
collective::Group* SharedCudaTest::group_ = nullptr;

TEST_F(SharedCudaTest, LossesAreThoseWithoutAGroup) {
  const std::string alone = Train("alone", nullptr), shared = Train("shared", group_);
  ASSERT_GE(Losses(alone).size(), 50u);
  ExpectEqualCurves(alone, shared);
}

TEST_F(SharedCudaTest, AStoppedRunGoesOn) {
  const std::string whole = Train("whole", group_);
  const std::string parts = Subfolder(folder_, "parts");
  TrainInputs inputs = world_->inputs();
  inputs.group = group_;
  options_.simulate_preemption = 20;
  EXPECT_TRUE(absl::IsCancelled(TrainRun(inputs, model_, options_, parts).status()));
  options_.simulate_preemption = 0;
  const auto result = TrainRun(inputs, model_, options_, parts);
  ASSERT_TRUE(result.ok()) << result.status();
  ExpectEqualCurves(whole, parts);
}

}  // namespace
}  // namespace mixrec::worker
