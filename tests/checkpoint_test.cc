#include "worker/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "worker_fixture.h"

namespace mixrec::worker {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

CheckpointStore::Writer Content(const std::string& text) {
  return [text](const std::string& folder) { return WriteFileAtomic(folder + "/data", text); };
}

class CheckpointTest : public ::testing::Test {
 protected:
  void SetUp() override { run_ = TestFolder(); }

  std::string Save(CheckpointStore* store, int64_t step, bool best = false) {
    const auto folder = store->Save(step, best, Content(StrCat("step ", step)));
    EXPECT_TRUE(folder.ok()) << folder.status();
    return *folder;
  }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(CheckpointsFolder(run_))) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  std::string run_;
};

TEST_F(CheckpointTest, BestAndLastPointToTheirCheckpoints) {
  CheckpointStore store(run_, 3);
  const std::string first = Save(&store, 10, true), second = Save(&store, 20);
  EXPECT_EQ(*FindCheckpoint(run_, "best"), first);
  EXPECT_EQ(*FindCheckpoint(run_, "last"), second);
  EXPECT_EQ(*FindCheckpoint(run_, second), second);
}

TEST_F(CheckpointTest, OlderOnesGoButTheBestStays) {
  CheckpointStore store(run_, 2);
  for (const int64_t step : {9, 10, 11, 100}) Save(&store, step, step == 9);
  EXPECT_THAT(Names(), ElementsAre("best", "last", "step-100", "step-11", "step-9"));
}

TEST_F(CheckpointTest, SameStepSavedAgainIsAnotherCheckpoint) {
  CheckpointStore store(run_, 1);
  Save(&store, 10);
  const auto again = store.Save(10, true, Content("validated"));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*ReadFile(*store.Newest() + "/data"), "validated");
  EXPECT_THAT(Names(), ElementsAre("best", "last", "step-10.1"));
}

TEST_F(CheckpointTest, TornLastIsPassedOverForTheNewestValidOne) {
  CheckpointStore store(run_, 3);
  Save(&store, 10);
  const std::string valid = Save(&store, 20), torn = Save(&store, 30);
  std::ofstream(torn + "/data", std::ios::trunc) << "ste";
  EXPECT_EQ(*store.Newest(), valid);
  EXPECT_EQ(*FindCheckpoint(run_, "last"), valid);
  EXPECT_THAT(std::string(FindCheckpoint(run_, torn).status().message()),
              HasSubstr("expected 7 bytes, found 3"));
}

TEST_F(CheckpointTest, ChangedContentOfTheSameSizeIsNoticed) {
  CheckpointStore store(run_, 1);
  const std::string folder = Save(&store, 10, true);
  std::ofstream(folder + "/data", std::ios::trunc) << "stop 10";
  const auto found = FindCheckpoint(run_, "best");
  EXPECT_EQ(ExitCodeOf(found.status()), kExitData);
  EXPECT_EQ(*store.Newest(), "");
}

TEST_F(CheckpointTest, WithoutAManifestItDoesNotExist) {
  CheckpointStore store(run_, 3);
  const std::string valid = Save(&store, 10);
  fs::remove(Save(&store, 20) + "/manifest.json");
  EXPECT_EQ(*store.Newest(), valid);
}

TEST_F(CheckpointTest, FailedWriteLeavesTheOlderOnesIntact) {
  CheckpointStore store(run_, 1);
  const std::string valid = Save(&store, 10, true);
  const auto failed = store.Save(20, true, [](const std::string& folder) {
    EXPECT_TRUE(WriteFileAtomic(folder + "/data", "half").ok());
    return FailureError("cannot write ", folder, ": No space left on device");
  });
  EXPECT_THAT(std::string(failed.status().message()),
              HasSubstr("no checkpoint at step 20 (the earlier ones are intact)"));
  EXPECT_EQ(*FindCheckpoint(run_, "best"), valid);
  EXPECT_EQ(*store.Newest(), valid);
  EXPECT_THAT(Names(), ElementsAre("best", "last", "step-10"));
}

// As by a server that was asked to save a second time, since its answer was late.
TEST_F(CheckpointTest, AFileThatSomebodyIsWritingIsNoPartOfIt) {
  CheckpointStore store(run_, 1);
  const auto folder = store.Save(10, false, [](const std::string& unfinished) -> absl::Status {
    MIXREC_RETURN_IF_ERROR(WriteFileAtomic(unfinished + "/data", "content"));
    MIXREC_RETURN_IF_ERROR(MakeFolder(unfinished + "/tables"));
    std::ofstream(unfinished + "/tables/.writing.a1b2c3") << "half a ta";
    return absl::OkStatus();
  });
  ASSERT_TRUE(folder.ok()) << folder.status();
  fs::remove(*folder + "/tables/.writing.a1b2c3");
  EXPECT_TRUE(FindCheckpoint(run_, "last").ok()) << FindCheckpoint(run_, "last").status();
}

TEST_F(CheckpointTest, UnfinishedFoldersOfADeadProcessAreRemoved) {
  CheckpointStore store(run_, 1);
  ASSERT_TRUE(MakeFolder(CheckpointsFolder(run_) + "/.tmp-step-7").ok());
  Save(&store, 10);
  EXPECT_THAT(Names(), ElementsAre("last", "step-10"));
}

class ModelCheckpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = TestFolder();
    world_ = std::make_unique<World>(folder_, 30, 25);
    TrainOptions options = SmallTraining();
    options.epochs = 0;
    const auto result = TrainRun(*world_, SmallModel(), options, Subfolder(folder_, "run"));
    ASSERT_TRUE(result.ok()) << result.status();
    checkpoint_ = result->best_checkpoint;
  }
  std::string folder_, checkpoint_;
  std::unique_ptr<World> world_;
};

TEST_F(ModelCheckpointTest, HoldsWhatServingNeedsUnderTheNamesOfTheFormat) {
  const auto tensors = ReadTensors(checkpoint_ + "/model.safetensors");
  for (const char* name :
       {"seq_token", "align_token", "damoe.0.causal.down.weight", "damoe.1.gate.bias",
        "item_proj.weight", "cf.user_gmf.weight", "cf.item_mlp.weight", "cf.mlp.0.weight",
        "cf.predict.bias", "proj_user.weight", "proj_item.bias"}) {
    EXPECT_EQ(tensors.count(name), 1u) << name;
  }
  const auto file = model::SafetensorsFile::Open(checkpoint_ + "/model.safetensors");
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->metadata().at("format_version"), "1");
  EXPECT_EQ(file->metadata().at("architecture"), "000000");
  for (const char* name : {"items.tsv", "users.tsv", "model.json", "state.json"}) {
    EXPECT_TRUE(PathExists(checkpoint_ + "/" + name)) << name;
  }
}

TEST_F(ModelCheckpointTest, LoadsWhatWasWritten) {
  const auto loaded = LoadModel(checkpoint_, world_->backbone, world_->dataset);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  ModelState initial(world_->backbone, loaded->card.options, world_->dataset.users(),
                     world_->dataset.items());
  ASSERT_TRUE(initial.Initialise(SmallTraining().seed).ok());
  const auto expected = initial.Trainable(), found = loaded->state->Trainable();
  ASSERT_EQ(expected.size(), found.size());
  for (size_t k = 0; k < found.size(); ++k) {
    EXPECT_TRUE(at::equal(expected[k].second, found[k].second)) << found[k].first;
  }
  EXPECT_EQ(loaded->card.max_items, 50);
  EXPECT_EQ(loaded->card.options.cf_hidden, SmallModel().cf_hidden);
}

TEST_F(ModelCheckpointTest, OtherDataAndOtherBackbonesAreRefused) {
  const World other(Subfolder(folder_, "other"), 40, 30);
  const auto data = LoadModel(checkpoint_, world_->backbone, other.dataset);
  EXPECT_EQ(ExitCodeOf(data.status()), kExitData);
  EXPECT_THAT(std::string(data.status().message()), HasSubstr("other data"));
  model::Backbone changed = world_->backbone;
  changed.content_hash = "another";
  const auto backbone = LoadModel(checkpoint_, changed, world_->dataset);
  EXPECT_EQ(ExitCodeOf(backbone.status()), kExitData);
  EXPECT_THAT(std::string(backbone.status().message()), HasSubstr("another backbone"));
}

TEST_F(ModelCheckpointTest, MalformedModelJsonNamesTheField) {
  const std::string path = checkpoint_ + "/model.json";
  std::string text = *ReadFile(path);
  text.replace(text.find("\"bottleneck\": 4"), 15, "\"bottleneck\": \"\"");
  ASSERT_TRUE(WriteFileAtomic(path, text).ok());
  const auto card = ReadModelCard(checkpoint_);
  EXPECT_EQ(ExitCodeOf(card.status()), kExitData);
  EXPECT_THAT(std::string(card.status().message()), HasSubstr("bottleneck"));
}

}  // namespace
}  // namespace mixrec::worker
