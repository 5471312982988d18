// Pre-training on a tiny text: it learns, and a stopped run goes on as if nothing had happened.
#include "model/pretrain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "common/file.h"
#include "common/stop_signal.h"
#include "model/backbone.h"
#include "model/pretrain_batches.h"

namespace mixrec::model {
namespace {

using ::testing::HasSubstr;

// Counting texts: the next token follows from the last.
std::vector<std::vector<int32_t>> Documents() {
  std::vector<std::vector<int32_t>> documents;
  for (int32_t start = 3; start < 43; ++start) {
    documents.emplace_back();
    for (int32_t i = 0; i < 12; ++i) documents.back().push_back(3 + (start + i) % 40);
  }
  return documents;
}

PretrainOptions Tiny() {
  PretrainOptions options;
  options.hidden = 16;
  options.layers = 2;
  options.heads = 2;
  options.max_positions = 64;
  options.context = 24;
  options.batch = 4;
  options.epochs = 6;
  options.learning_rate = 1e-2;
  return options;
}

class PretrainTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ClearStopRequest();
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override {
    ClearStopRequest();
    std::filesystem::remove_all(folder_);
  }
  std::string Weights(const std::string& name) {
    const auto content = ReadFile(folder_ + name + "/model.safetensors");
    EXPECT_TRUE(content.ok()) << content.status();
    return content.value_or("");
  }

  std::string folder_ = ::testing::TempDir() + "pretrain_test/";
};

TEST_F(PretrainTest, LossFallsAndTheBackboneLoads) {
  PretrainOptions options = Tiny();
  options.epochs = 40;
  std::vector<double> losses;
  const auto status = Pretrain(options, 43, {Documents(), {}, {}, {}}, folder_ + "a",
                               [&](const PretrainProgress& p) { losses.push_back(p.loss); });
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_EQ(static_cast<int64_t>(losses.size()), PretrainSteps(options, 40 * 13));
  EXPECT_NEAR(losses.front(), std::log(43.0), 0.3);
  EXPECT_LT(losses.back(), 0.3 * losses.front());
  EXPECT_FALSE(PathExists(folder_ + "a/pretrain_state.safetensors"));

  const auto backbone = LoadBackbone(folder_ + "a", at::kCPU, at::kFloat);
  ASSERT_TRUE(backbone.ok()) << backbone.status();
  const auto forward = ForwardPlain(*backbone, {3, 4, 5, 6, 7, 8});
  EXPECT_EQ(forward.logits[-1].argmax().item<int64_t>(), 9);
}

TEST_F(PretrainTest, StoppedRunGoesOnToBitEqualWeights) {
  ASSERT_TRUE(Pretrain(Tiny(), 43, {Documents(), {}, {}, {}}, folder_ + "whole", nullptr).ok());
  const auto stop_at = [](int64_t step) {
    return [step](const PretrainProgress& p) {
      if (p.step == step) RequestStop();
    };
  };
  for (const int64_t step : {int64_t{3}, int64_t{20}}) {
    const auto status =
        Pretrain(Tiny(), 43, {Documents(), {}, {}, {}}, folder_ + "parts", stop_at(step));
    EXPECT_EQ(ExitCodeOf(status), kExitStopped) << status;
    EXPECT_FALSE(PathExists(folder_ + "parts/config.json"));
    ClearStopRequest();
  }
  int64_t steps = 0;
  const auto status = Pretrain(Tiny(), 43, {Documents(), {}, {}, {}}, folder_ + "parts",
                               [&](const PretrainProgress&) { ++steps; });
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(steps, PretrainSteps(Tiny(), 40 * 13) - 20);
  EXPECT_EQ(Weights("parts"), Weights("whole"));
}

TEST_F(PretrainTest, StateOfOtherOptionsOrTextsIsRefused) {
  const auto stop = [](const PretrainProgress&) { RequestStop(); };
  ASSERT_FALSE(Pretrain(Tiny(), 43, {Documents(), {}, {}, {}}, folder_ + "a", stop).ok());
  ClearStopRequest();
  PretrainOptions other = Tiny();
  other.learning_rate = 2e-2;
  const auto status = Pretrain(other, 43, {Documents(), {}, {}, {}}, folder_ + "a", nullptr);
  EXPECT_EQ(ExitCodeOf(status), kExitUsage);
  EXPECT_THAT(std::string(status.message()), HasSubstr("pretrain_state.safetensors"));
  auto documents = Documents();
  documents[0][0] = 4;
  EXPECT_EQ(ExitCodeOf(Pretrain(Tiny(), 43, {documents, {}, {}, {}}, folder_ + "a", nullptr)),
            kExitUsage);
}

TEST_F(PretrainTest, NoEpochsWriteTheInitialWeights) {
  PretrainOptions options = Tiny();
  options.epochs = 0;
  ASSERT_TRUE(Pretrain(options, 43, PretrainInputs(), folder_ + "a", nullptr).ok());
  ASSERT_TRUE(Pretrain(options, 43, PretrainInputs(), folder_ + "b", nullptr).ok());
  EXPECT_EQ(Weights("a"), Weights("b"));
  options.seed = 2;
  ASSERT_TRUE(Pretrain(options, 43, PretrainInputs(), folder_ + "c", nullptr).ok());
  EXPECT_NE(Weights("a"), Weights("c"));
}

TEST_F(PretrainTest, WrongOptionsAreUsageErrors) {
  const auto refused = [&](const PretrainOptions& options) {
    return ExitCodeOf(Pretrain(options, 43, {Documents(), {}, {}, {}}, folder_ + "a", nullptr)) ==
           kExitUsage;
  };
  PretrainOptions options = Tiny();
  options.heads = 3;
  EXPECT_TRUE(refused(options));
  options = Tiny();
  options.context = 65;
  EXPECT_TRUE(refused(options));
  options = Tiny();
  options.dropout = 1;
  EXPECT_TRUE(refused(options));
  EXPECT_EQ(ExitCodeOf(Pretrain(Tiny(), 43, PretrainInputs(), folder_ + "a", nullptr)), kExitData);
}

TEST_F(PretrainTest, EveryEpochSeesEverySequenceOnceAndLatePositionsToo) {
  const PretrainOptions options = Tiny();
  const auto documents = Documents();
  PretrainBatches batches(options, documents);
  int64_t tokens = 0, largest = 0;
  for (int64_t step = 0; step < batches.steps_per_epoch(); ++step) {
    const PretrainBatch batch = batches.At(step);
    tokens += batch.inputs.numel();
    largest = std::max(largest, batch.positions.max().item<int64_t>());
    EXPECT_TRUE(at::equal(batch.inputs.narrow(1, 1, 23), batch.targets.narrow(1, 0, 23)));
    EXPECT_GE(batch.positions.min().item<int64_t>(), 2);
  }
  EXPECT_EQ(tokens, (40 * 13 - 1) / 24 * 24);
  EXPECT_GT(largest, 25);
  EXPECT_LT(largest, 66);
}

}  // namespace
}  // namespace mixrec::model
