// Distillation while pre-training: its batches, its loss, what it leaves behind; and the file of
// vectors that it reads.
#include "model/pretrain_distill.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "common/file.h"
#include "common/random.h"
#include "common/stop_signal.h"
#include "model/backbone.h"
#include "model/distillation.h"
#include "tests/test_folder.h"

namespace mixrec::model {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kVocabulary = 43;
constexpr int64_t kTexts = 12;

// Texts of different lengths over tokens of their own, with random targets.
PretrainInputs Inputs() {
  PretrainInputs inputs;
  for (int32_t text = 0; text < kTexts; ++text) {
    inputs.documents.emplace_back();
    for (int32_t k = 0; k < 2 + text % 5; ++k) {
      inputs.documents.back().push_back(3 + (3 * text + k) % 40);
    }
  }
  inputs.distilled = inputs.documents;
  inputs.targets = at::empty({kTexts, 6}, at::kFloat);
  RandomStream random(5);
  for (int64_t k = 0; k < inputs.targets.numel(); ++k) {
    inputs.targets.data_ptr<float>()[k] = static_cast<float>(random.Normal());
  }
  inputs.targets /= inputs.targets.norm(2, 1, true);
  return inputs;
}

PretrainOptions Tiny() {
  PretrainOptions options;
  options.hidden = 16;
  options.layers = 2;
  options.heads = 2;
  options.max_positions = 64;
  options.context = 8;
  options.batch = 4;
  options.epochs = 20;
  options.dropout = 0;
  options.learning_rate = 1e-2;
  options.distill.sequences = 3;
  options.distill.texts = 2;
  options.distill.text_tokens = 4;
  return options;
}

TEST(DistillBatches, ARowSeesItsPastAndItsText) {
  const PretrainOptions options = Tiny();
  const PretrainInputs inputs = Inputs();
  const DistillBatch batch = DistillBatches(options, inputs, kVocabulary).At(0);
  const int64_t tokens = batch.inputs.size(1);
  for (int64_t row = 0; row < 3; ++row) {
    const int64_t first_end = batch.sequence_rows[2 * row].item<int64_t>() - row * tokens;
    const int64_t last_end = batch.sequence_rows[2 * row + 1].item<int64_t>() - row * tokens;
    EXPECT_EQ(batch.inputs[row][first_end].item<int64_t>(), kVocabulary);
    EXPECT_EQ(batch.inputs[row][last_end].item<int64_t>(), kVocabulary);
    for (int64_t query = 0; query < tokens; ++query) {
      for (int64_t key = 0; key < tokens; ++key) {
        const bool real = query <= last_end && key <= last_end;
        const bool same_text = (query <= first_end) == (key <= first_end);
        EXPECT_EQ(batch.causal[row][0][query][key].item<bool>(),
                  (real && key <= query) || key == query);
        EXPECT_EQ(batch.context[row][0][query][key].item<bool>(),
                  (real && same_text) || key == query);
      }
    }
  }
}

TEST(DistillBatches, TextsAreCutAndMetOnceARound) {
  const PretrainOptions options = Tiny();
  const PretrainInputs inputs = Inputs();
  DistillBatches batches(options, inputs, kVocabulary);
  for (int64_t round = 0; round < 3; ++round) {
    std::set<int64_t> met;
    for (int64_t step = 2 * round; step < 2 * round + 2; ++step) {
      const DistillBatch batch = batches.At(step);
      EXPECT_LE(batch.inputs.size(1), 2 * 5);
      for (int64_t k = 0; k < 6; ++k) met.insert(batch.documents[k].item<int64_t>());
    }
    EXPECT_EQ(static_cast<int64_t>(met.size()), kTexts);
  }
  EXPECT_TRUE(
      at::equal(DistillBatches(options, inputs, kVocabulary).At(3).inputs, batches.At(3).inputs));
}

TEST(DistillationLoss, IsSmallestAtTheTargets) {
  const at::Tensor targets = Inputs().targets;
  DistillOptions options;
  const DistillLoss at_targets = DistillationLoss(options, 3 * targets, targets);
  EXPECT_NEAR(at_targets.cosine.item<double>(), 1, 1e-6);
  const DistillLoss opposite = DistillationLoss(options, -targets, targets);
  EXPECT_NEAR(opposite.cosine.item<double>(), -1, 1e-6);
  EXPECT_GT(opposite.loss.item<double>(), 8 + at_targets.loss.item<double>());
  // One text is found among one with certainty.
  const at::Tensor one = targets.narrow(0, 0, 1);
  EXPECT_NEAR(DistillationLoss(options, one, one).loss.item<double>(), 0, 1e-5);
}

TEST(Distillation, TheHeadLearnsTheTargetsAndTheVectorIsKept) {
  const std::string folder = TestFolder();
  PretrainOptions options = Tiny();
  options.epochs = 60;
  std::vector<double> cosines;
  const auto status =
      Pretrain(options, kVocabulary, Inputs(), folder,
               [&](const PretrainProgress& p) { cosines.push_back(p.distill_cosine); });
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_LT(cosines.front(), 0.5);
  EXPECT_GT(cosines.back(), 0.9);
  const auto backbone = LoadBackbone(folder, at::kCPU, at::kFloat);
  ASSERT_TRUE(backbone.ok()) << backbone.status();
  ASSERT_TRUE(backbone->sequence_start.defined());
  EXPECT_FALSE(at::allclose(backbone->sequence_start, backbone->word_embedding[2], 1e-2, 1e-2));
}

TEST(Distillation, AStoppedRunGoesOnToBitEqualWeights) {
  const std::string folder = TestFolder();
  ASSERT_TRUE(Pretrain(Tiny(), kVocabulary, Inputs(), folder + "/whole", nullptr).ok());
  const auto stopped =
      Pretrain(Tiny(), kVocabulary, Inputs(), folder + "/parts", [&](const PretrainProgress& p) {
        if (p.step == 7) RequestStop();
      });
  ClearStopRequest();
  EXPECT_EQ(ExitCodeOf(stopped), kExitStopped);
  PretrainInputs other = Inputs();
  other.targets = -other.targets;
  EXPECT_EQ(ExitCodeOf(Pretrain(Tiny(), kVocabulary, other, folder + "/parts", nullptr)),
            kExitUsage);
  ASSERT_TRUE(Pretrain(Tiny(), kVocabulary, Inputs(), folder + "/parts", nullptr).ok());
  for (const char* name : {"/model.safetensors", "/special_tokens.safetensors"}) {
    EXPECT_EQ(*ReadFile(folder + "/parts" + name), *ReadFile(folder + "/whole" + name));
  }
}

TEST(Distillation, WithoutTargetsNoVectorIsLeft) {
  const std::string folder = TestFolder();
  PretrainOptions options = Tiny();
  options.epochs = 1;
  ASSERT_TRUE(Pretrain(options, kVocabulary, Inputs(), folder, nullptr).ok());
  EXPECT_TRUE(PathExists(folder + "/special_tokens.safetensors"));
  PretrainInputs inputs = Inputs();
  inputs.targets = at::Tensor();
  ASSERT_TRUE(Pretrain(options, kVocabulary, inputs, folder, nullptr).ok());
  EXPECT_FALSE(PathExists(folder + "/special_tokens.safetensors"));
}

TEST(Distillation, WordsStartWhereTheyAreTold) {
  const std::string folder = TestFolder();
  PretrainOptions options = Tiny();
  options.epochs = 0;
  PretrainInputs inputs;
  ASSERT_TRUE(Pretrain(options, kVocabulary, inputs, folder + "/random", nullptr).ok());
  inputs.word_start = at::full({kVocabulary, 16}, NAN, at::kFloat);
  inputs.word_start[7].fill_(0.25);
  ASSERT_TRUE(Pretrain(options, kVocabulary, inputs, folder + "/told", nullptr).ok());
  const auto random = LoadBackbone(folder + "/random", at::kCPU, at::kFloat);
  const auto told = LoadBackbone(folder + "/told", at::kCPU, at::kFloat);
  ASSERT_TRUE(random.ok() && told.ok());
  EXPECT_TRUE(at::equal(told->word_embedding[7], inputs.word_start[7]));
  EXPECT_TRUE(at::equal(told->word_embedding[8], random->word_embedding[8]));
}

model::Distillation SmallFile() {
  model::Distillation distillation;
  for (const char* text : {"drill", "saw", "caf\xC3\xA9"}) {
    distillation.text_keys.push_back(TextKey(text));
  }
  distillation.text_vectors =
      at::tensor({1.0, 0.0, 0.0, 1.0, 4.0, 5.0}, at::kFloat).view({3, 2}).to(at::kHalf);
  distillation.vocabulary = {"[UNK]", "drill", "##\"\n"};
  distillation.word_vectors =
      at::tensor({1.0, 2.0, 3.0, 4.0, 5.0, 6.0}, at::kFloat).view({3, 2}).to(at::kHalf);
  distillation.encoder_hash = "abc";
  return distillation;
}

TEST(DistillationFile, WhatIsWrittenIsRead) {
  const std::string path = TestFolder() + "/vectors";
  const model::Distillation written = SmallFile();
  ASSERT_TRUE(WriteDistillation(path, written).ok());
  const auto read = ReadDistillation(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->text_keys, written.text_keys);
  EXPECT_EQ(read->vocabulary, written.vocabulary);
  EXPECT_TRUE(at::equal(read->text_vectors, written.text_vectors));
  EXPECT_TRUE(at::equal(read->word_vectors, written.word_vectors));
  EXPECT_EQ(read->encoder_hash, "abc");
}

TEST(DistillationFile, ATruncatedFileIsADataError) {
  const std::string folder = TestFolder();
  ASSERT_TRUE(WriteDistillation(folder + "/vectors", SmallFile()).ok());
  const std::string whole = *ReadFile(folder + "/vectors");
  for (size_t size = 0; size < whole.size(); size += 5) {
    ASSERT_TRUE(WriteFileAtomic(folder + "/cut", whole.substr(0, size)).ok());
    EXPECT_EQ(ExitCodeOf(ReadDistillation(folder + "/cut").status()), kExitData) << size;
  }
}

TEST(DistillationFile, VectorsAreCentredAndOfLengthOne) {
  const auto vectors = NormalisedTextVectors(SmallFile(), {"saw", "drill"});
  ASSERT_TRUE(vectors.ok()) << vectors.status();
  const double half = std::sqrt(0.5);
  EXPECT_LE((*vectors - at::tensor({-half, half, half, -half}, at::kFloat).view({2, 2}))
                .abs()
                .max()
                .item<double>(),
            1e-6);
  const absl::Status missing = NormalisedTextVectors(SmallFile(), {"hammer"}).status();
  EXPECT_EQ(ExitCodeOf(missing), kExitData);
  EXPECT_THAT(missing.message(), HasSubstr("hammer"));
}

}  // namespace
}  // namespace mixrec::model
