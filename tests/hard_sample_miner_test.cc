// Text vectors, vectors on disk, and the sets that come of them.
#include "mining/hard_sample_miner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "common/file.h"
#include "common/random.h"
#include "common/stop_signal.h"
#include "data/mined_hard_samples.h"
#include "mining/text_vectors.h"
#include "mining/vector_file.h"
#include "tests/bert_fixture.h"
#include "tests/test_folder.h"

namespace mixrec::mining {
namespace {

using ::testing::HasSubstr;

data::Dataset RandomDataset(uint64_t seed, int users, int items) {
  RandomStream random(HashKey(seed, "histories"));
  std::vector<std::vector<int32_t>> histories(static_cast<size_t>(users));
  for (auto& history : histories) {
    history.resize(3 + random.Below(6));
    for (int32_t& item : history) {
      item = static_cast<int32_t>(random.Below(static_cast<uint64_t>(items)));
    }
  }
  return data::Dataset::FromHistories(histories,
                                      std::vector<std::string>(static_cast<size_t>(items), "t"));
}

at::Tensor RandomVectors(uint64_t seed, int64_t items, int64_t width) {
  at::Tensor vectors = at::empty({items, width}, at::kFloat);
  RandomStream random(HashKey(seed, "vectors"));
  for (int64_t k = 0; k < vectors.numel(); ++k) {
    vectors.data_ptr<float>()[k] = static_cast<float>(random.Normal());
  }
  return vectors;
}

bool ShareATrainingHistory(const data::Dataset& dataset, int32_t a, int32_t b) {
  for (int32_t user = 0; user < dataset.users(); ++user) {
    const auto items = dataset.training_items(user);
    if (std::count(items.begin(), items.end(), a) && std::count(items.begin(), items.end(), b)) {
      return true;
    }
  }
  return false;
}

// The definition, item by item.
std::vector<int32_t> Expected(const data::Dataset& dataset, const std::vector<at::Tensor>& spaces,
                              int32_t item, int64_t neighbours) {
  std::vector<int32_t> set;
  for (const at::Tensor& space : spaces) {
    const at::Tensor distances = (space - space[item]).square().sum(1);
    distances[item] = INFINITY;
    const at::Tensor order = std::get<1>(at::sort(distances, std::optional<bool>(true), 0, false));
    for (int64_t rank = 0; rank < neighbours; ++rank) {
      const auto other = static_cast<int32_t>(order[rank].item<int64_t>());
      if (!ShareATrainingHistory(dataset, item, other)) set.push_back(other);
    }
  }
  std::sort(set.begin(), set.end());
  set.erase(std::unique(set.begin(), set.end()), set.end());
  return set;
}

TEST(HardSampleMiner, SetsAreTheUnionWithoutWhatCooccurs) {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const std::string path = TestFolder() + "/sets";
    const data::Dataset dataset = RandomDataset(seed, 40, 60);
    const at::Tensor text = RandomVectors(seed, 60, 8), latent = RandomVectors(seed + 100, 60, 5);
    MiningOptions options;
    options.top_fraction = 0.2;
    options.block_items = 7 + static_cast<int32_t>(seed);
    options.search.item_block = 16;
    ASSERT_TRUE(MineHardSamples(dataset, text, latent, options, path).ok());
    const auto mined = data::MinedHardSamples::Load(path, dataset);
    ASSERT_TRUE(mined.ok()) << mined.status();
    for (int32_t item = 0; item < 60; ++item) {
      const std::vector<int32_t> set = (*mined)->SetOf(item);
      EXPECT_EQ(set, Expected(dataset, {text, latent}, item, 12)) << seed << ", " << item;
      for (const int32_t other : set) {
        EXPECT_NE(other, item);
        EXPECT_FALSE(ShareATrainingHistory(dataset, item, other));
      }
    }
  }
}

TEST(HardSampleMiner, AStoppedRunGoesOnToTheSameFile) {
  const std::string folder = TestFolder();
  const data::Dataset dataset = RandomDataset(7, 40, 60);
  const at::Tensor text = RandomVectors(1, 60, 8), latent = RandomVectors(2, 60, 5);
  MiningOptions options;
  options.top_fraction = 0.1;
  options.block_items = 9;
  const auto mine = [&](const std::string& path, int64_t stop_after) {
    return MineHardSamples(dataset, text, latent, options, path, [&](int64_t done) {
      if (done == stop_after) RequestStop();
    });
  };
  ASSERT_TRUE(mine(folder + "/at_once", -1).ok());
  EXPECT_EQ(ExitCodeOf(mine(folder + "/stopped", 27)), kExitStopped);
  ClearStopRequest();
  ASSERT_TRUE(mine(folder + "/stopped", -1).ok());
  EXPECT_EQ(*ReadFile(folder + "/stopped"), *ReadFile(folder + "/at_once"));
}

TEST(HardSampleMiner, TheFractionIsRoundedAndLimited) {
  MiningOptions options;
  EXPECT_EQ(NeighbourCount(4344, options), 22);  // model.md D28
  EXPECT_EQ(NeighbourCount(10, options), 1);
  options.top_fraction = 1;
  EXPECT_EQ(NeighbourCount(10, options), 9);
  options.max_neighbours = 4;
  EXPECT_EQ(NeighbourCount(1'000'000, options), 4);
}

TEST(TextVectors, AreCutAtTheEncodersPositions) {
  const std::string folder = TestFolder();
  model::WriteTinyBert(folder, model::TinyBertTensors(1));
  const auto encoder = LoadTextEncoder(folder, at::kCPU, at::kFloat);
  ASSERT_TRUE(encoder.ok()) << encoder.status();
  std::string longer;
  for (int k = 0; k < 100; ++k) longer += "a b c ";
  const at::Tensor vectors = EncodeTexts(*encoder, {longer, longer + "d", "", "a b"}, 10'000);
  EXPECT_TRUE(at::equal(vectors[0], vectors[1]));
  EXPECT_FALSE(at::equal(vectors[0], vectors[3]));
  EXPECT_EQ(vectors.size(1), 8);
  // Cut after [CLS] a b [SEP].
  EXPECT_LE((EncodeTexts(*encoder, {longer}, 4)[0] - vectors[3]).abs().max().item<double>(), 1e-6);
}

TEST(TextVectors, AVocabularyOfAnotherModelIsRefused) {
  const std::string folder = TestFolder();
  model::WriteTinyBert(folder, model::TinyBertTensors(1));
  std::string vocabulary = *ReadFile(folder + "/vocab.txt");
  ASSERT_TRUE(WriteFileAtomic(folder + "/vocab.txt", vocabulary + "more\n").ok());
  const absl::Status status = LoadTextEncoder(folder, at::kCPU, at::kFloat).status();
  EXPECT_EQ(ExitCodeOf(status), kExitData);
  EXPECT_THAT(status.message(), HasSubstr("25"));
}

class VectorFileTest : public ::testing::Test {
 protected:
  absl::StatusOr<at::Tensor> Make() {
    return LoadOrMakeVectors(
        options_,
        [&](int64_t first, int64_t count) -> absl::StatusOr<at::Tensor> {
          made_ += count;
          return source_.narrow(0, first, count).clone();
        },
        [&](int64_t done) {
          if (done == stop_after_) RequestStop();
        });
  }

  at::Tensor source_ = RandomVectors(5, 50, 3);
  VectorFileOptions options_{TestFolder() + "/vectors", 50, 8, R"({"seed":1})"};
  int64_t made_ = 0, stop_after_ = -1;
};

TEST_F(VectorFileTest, WhatIsMadeIsMadeOnce) {
  EXPECT_TRUE(at::equal(*Make(), source_));
  EXPECT_TRUE(at::equal(*Make(), source_));
  EXPECT_EQ(made_, 50);
}

TEST_F(VectorFileTest, AStoppedRunMakesTheRest) {
  stop_after_ = 24;
  EXPECT_EQ(ExitCodeOf(Make().status()), kExitStopped);
  ClearStopRequest();
  stop_after_ = -1;
  EXPECT_TRUE(at::equal(*Make(), source_));
  EXPECT_EQ(made_, 50);
}

TEST_F(VectorFileTest, OtherSettingsMakeThemAnew) {
  ASSERT_TRUE(Make().ok());
  options_.made_from = R"({"seed":2})";
  source_ = RandomVectors(6, 50, 3);
  EXPECT_TRUE(at::equal(*Make(), source_));
  EXPECT_EQ(made_, 100);
}

TEST_F(VectorFileTest, ValuesThatAreNotFiniteAreRefused) {
  source_[20][1] = NAN;
  const absl::Status status = Make().status();
  EXPECT_EQ(ExitCodeOf(status), kExitData);
  EXPECT_THAT(status.message(), HasSubstr("16 to 23"));
}

}  // namespace
}  // namespace mixrec::mining
