#include "worker/cf_training.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/worker_fixture.h"
#include "worker/checkpoint.h"

namespace mixrec::worker {
namespace {

using ::testing::HasSubstr;

class CfTrainingTest : public ::testing::Test {
 protected:
  static model::ModelOptions Model(model::CfKind kind) {
    model::ModelOptions options = SmallModel();
    options.cf = kind;
    options.mf_width = 10;
    return options;
  }
  absl::StatusOr<CfTrainingResult> Pretrain(model::CfKind kind, int64_t epochs = 8) {
    CfTrainingOptions options;
    options.model = Model(kind);
    options.epochs = epochs;
    options.batch = 16;
    options.learning_rate = .02;
    options.progress = false;
    return TrainCf(world_.dataset, options, folder_ + "/cf");
  }
  absl::StatusOr<TrainResult> Train(model::ModelOptions model, const std::string& name) {
    TrainOptions options = SmallTraining();
    options.epochs = 1;
    if (model.cf_frozen) options.cf_folder = folder_ + "/cf";
    return TrainRun(world_, model, options, Subfolder(folder_, name));
  }

  std::string folder_ = TestFolder();
  World world_{folder_};
};

TEST_F(CfTrainingTest, TheLossFallsForBothModels) {
  for (const model::CfKind kind : {model::CfKind::kNcf, model::CfKind::kMf}) {
    const auto result = Pretrain(kind, 30);
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_EQ(result->losses.size(), 30u);
    EXPECT_LT(result->losses.front(), .72);  // it begins at a coin's log 2
    EXPECT_LT(result->losses.back(), .8 * result->losses.front());
  }
}

TEST_F(CfTrainingTest, TheSameSeedGivesTheSameFile) {
  ASSERT_TRUE(Pretrain(model::CfKind::kNcf, 2).ok());
  const std::string first = *ReadFile(CfFile(folder_ + "/cf"));
  ASSERT_TRUE(Pretrain(model::CfKind::kNcf, 2).ok());
  EXPECT_EQ(*ReadFile(CfFile(folder_ + "/cf")), first);
}

TEST_F(CfTrainingTest, FrozenRowsDoNotMoveWhileTheRestLearns) {
  for (const model::CfKind kind : {model::CfKind::kNcf, model::CfKind::kMf}) {
    ASSERT_TRUE(Pretrain(kind, 2).ok());
    model::ModelOptions model = Model(kind);
    model.cf_frozen = true;
    const std::string name = kind == model::CfKind::kNcf ? "ncf" : "mf";
    const auto trained = Train(model, name);
    ASSERT_TRUE(trained.ok()) << trained.status();
    const auto before = ReadTensors(CfFile(folder_ + "/cf"));
    const auto after = ReadTensors(trained->last_checkpoint + "/model.safetensors");
    int rows = 0;
    for (const auto& [tensor, values] : after) {
      if (tensor.rfind("cf.", 0) != 0) continue;
      ++rows;
      ASSERT_EQ(before.count(tensor), 1u) << tensor;
      EXPECT_TRUE(at::equal(values, before.at(tensor))) << tensor;
    }
    EXPECT_EQ(rows, kind == model::CfKind::kNcf ? 4 : 2);
    EXPECT_FALSE(at::equal(after.at("proj_item.bias"), at::zeros_like(after.at("proj_item.bias"))));
    // The checkpoint stands alone.
    const auto loaded = LoadModel(trained->last_checkpoint, world_.backbone, world_.dataset);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_TRUE(loaded->state->options().cf_frozen);
  }
}

TEST_F(CfTrainingTest, JointTrainingMovesTheRows) {
  const auto trained = Train(Model(model::CfKind::kNcf), "joint");
  ASSERT_TRUE(trained.ok()) << trained.status();
  const auto after = ReadTensors(trained->last_checkpoint + "/model.safetensors");
  const auto start = InitialisedState(world_);
  EXPECT_FALSE(
      at::equal(after.at("cf.item_gmf.weight"), start->Tensor("cf.item_gmf.weight").cpu()));
  EXPECT_EQ(after.count("cf.predict.weight"), 1u);
}

TEST_F(CfTrainingTest, OtherWidthsKindsAndDataAreNamed) {
  ASSERT_TRUE(Pretrain(model::CfKind::kNcf, 1).ok());
  model::ModelOptions wider = Model(model::CfKind::kNcf);
  wider.cf_frozen = true;
  wider.cf_gmf = 7;
  const absl::Status width = Train(wider, "wider").status();
  EXPECT_EQ(ExitCodeOf(width), kExitUsage);
  EXPECT_THAT(std::string(width.message()), HasSubstr("--cf_gmf=6"));
  model::ModelOptions other = Model(model::CfKind::kMf);
  other.cf_frozen = true;
  EXPECT_EQ(ExitCodeOf(Train(other, "other").status()), kExitUsage);
  const data::Dataset more = SmallDataset(Subfolder(folder_, "more"), 61, 40);
  const auto state = InitialisedState(world_);
  EXPECT_EQ(ExitCodeOf(LoadCfRows(folder_ + "/cf", more, state.get())), kExitData);
  EXPECT_EQ(ExitCodeOf(LoadCfRows(folder_ + "/none", world_.dataset, state.get())), kExitData);
}

TEST_F(CfTrainingTest, FrozenWithoutAFolderOrAColumnIsAUsageError) {
  model::ModelOptions frozen = Model(model::CfKind::kNcf);
  frozen.cf_frozen = true;
  EXPECT_EQ(ExitCodeOf(TrainRun(world_, frozen, SmallTraining(), folder_).status()), kExitUsage);
  TrainOptions options = SmallTraining();
  options.cf_folder = folder_;
  EXPECT_EQ(ExitCodeOf(TrainRun(world_, SmallModel(), options, folder_).status()), kExitUsage);
  frozen.mode = model::Mode::kLlmrec;
  EXPECT_EQ(ExitCodeOf(TrainRun(world_, frozen, options, folder_).status()), kExitUsage);
}

TEST_F(CfTrainingTest, AStopWritesNothing) {
  RequestStop();
  const auto result = Pretrain(model::CfKind::kMf);
  ClearStopRequest();
  EXPECT_EQ(ExitCodeOf(result.status()), kExitStopped);
  EXPECT_FALSE(PathExists(CfFile(folder_ + "/cf")));
}

}  // namespace
}  // namespace mixrec::worker
