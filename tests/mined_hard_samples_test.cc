#include "data/mined_hard_samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "common/file.h"
#include "tests/test_folder.h"

namespace mixrec::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Sets = std::vector<std::vector<int32_t>>;

Dataset Items(size_t items) {
  return Dataset::FromHistories({{0, 1, 2, 3}}, std::vector<std::string>(items, "t"));
}

// `limit` blocks at most; then as if killed.
void Write(const std::string& path, const Dataset& dataset, const Sets& sets, int32_t block_items,
           int limit = 1 << 20, const std::string& settings = "{}") {
  auto writer = HardSampleWriter::Open(path, dataset, block_items, settings);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (int block = 0; writer->next_item() < writer->items(); ++block) {
    if (block == limit) return;
    const auto first = sets.begin() + writer->next_item();
    const auto last = first + std::min<int64_t>(block_items, sets.end() - first);
    ASSERT_TRUE(writer->Append(Sets(first, last)).ok());
  }
  ASSERT_TRUE(writer->Finish().ok());
}

std::unique_ptr<MinedHardSamples> Load(const std::string& path, const Dataset& dataset) {
  auto loaded = MinedHardSamples::Load(path, dataset);
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return loaded.ok() ? *std::move(loaded) : nullptr;
}

Sets RandomSets(uint64_t seed, int32_t items) {
  RandomStream random(seed);
  Sets sets(static_cast<size_t>(items));
  for (auto& set : sets) {
    for (int32_t item = 0; item < items; ++item) {
      if (random.Below(4) == 0) set.push_back(item);
    }
  }
  return sets;
}

TEST(MinedHardSamples, WhatIsWrittenIsRead) {
  const std::string path = TestFolder() + "/sets";
  const Dataset dataset = Items(700);
  const Sets sets = RandomSets(1, 700);
  Write(path, dataset, sets, 64, 1 << 20, R"({"mf_dim":7})");
  const auto loaded = Load(path, dataset);
  size_t total = 0;
  for (int32_t item = 0; item < 700; ++item) {
    EXPECT_EQ(loaded->SetOf(item), sets[static_cast<size_t>(item)]);
    total += sets[static_cast<size_t>(item)].size();
  }
  EXPECT_DOUBLE_EQ(loaded->Sizes().mean, static_cast<double>(total) / 700);
  EXPECT_EQ(loaded->settings(), R"({"mf_dim":7})");
}

TEST(MinedHardSamples, AStoppedWriterGoesOnToTheSameFile) {
  const std::string folder = TestFolder();
  const Dataset dataset = Items(50);
  const Sets sets = RandomSets(2, 50);
  Write(folder + "/at_once", dataset, sets, 8);
  Write(folder + "/stopped", dataset, sets, 8, 3);
  EXPECT_FALSE(PathExists(folder + "/stopped"));
  // A block of which only a part reached the disk.
  std::string part = *ReadFile(folder + "/stopped.part");
  ASSERT_TRUE(WriteFileAtomic(folder + "/stopped.part", part.substr(0, part.size() - 5)).ok());
  Write(folder + "/stopped", dataset, sets, 8);
  EXPECT_EQ(*ReadFile(folder + "/stopped"), *ReadFile(folder + "/at_once"));
}

TEST(MinedHardSamples, APartOfOtherSettingsIsNotContinued) {
  const std::string path = TestFolder() + "/sets";
  const Dataset dataset = Items(50);
  Write(path, dataset, RandomSets(3, 50), 8, 3, R"({"seed":1})");
  const Sets sets = RandomSets(4, 50);
  Write(path, dataset, sets, 8, 1 << 20, R"({"seed":2})");
  EXPECT_EQ(Load(path, dataset)->SetOf(0), sets[0]);
}

TEST(MinedHardSamples, TwoWritersDoNotMeet) {
  const std::string path = TestFolder() + "/sets";
  const Dataset dataset = Items(20);
  const auto first = HardSampleWriter::Open(path, dataset, 8, "{}");
  ASSERT_TRUE(first.ok());
  const absl::Status second = HardSampleWriter::Open(path, dataset, 8, "{}").status();
  EXPECT_EQ(ExitCodeOf(second), kExitFailure);
  EXPECT_THAT(second.message(), HasSubstr("in use"));
}

TEST(MinedHardSamples, DamageAnywhereIsADataError) {
  const std::string folder = TestFolder();
  const Dataset dataset = Items(20);
  Write(folder + "/good", dataset, RandomSets(5, 20), 8);
  const std::string good = *ReadFile(folder + "/good");
  const auto expect_refused = [&](const std::string& bytes, size_t at) {
    ASSERT_TRUE(WriteFileAtomic(folder + "/bad", bytes).ok());
    const absl::Status status = MinedHardSamples::Load(folder + "/bad", dataset).status();
    EXPECT_EQ(ExitCodeOf(status), kExitData) << at;
    EXPECT_THAT(status.message(), HasSubstr(folder + "/bad")) << at;
  };
  for (size_t at = 0; at < good.size(); at += 3) {
    expect_refused(good.substr(0, at), at);
    std::string flipped = good;
    flipped[at] = static_cast<char>(flipped[at] ^ 4);
    expect_refused(flipped, at);
  }
  expect_refused(good + "x", good.size());
}

TEST(MinedHardSamples, SetsOfOtherItemsAreRefused) {
  const std::string path = TestFolder() + "/sets";
  Write(path, Items(20), RandomSets(5, 20), 8);
  const absl::Status status = MinedHardSamples::Load(path, Items(21)).status();
  EXPECT_EQ(ExitCodeOf(status), kExitData);
  EXPECT_THAT(status.message(), HasSubstr("--data"));
}

TEST(MinedHardSamples, DrawsAreDistinctAndOfTheSet) {
  const std::string path = TestFolder() + "/sets";
  const Dataset dataset = Items(30);
  Sets sets(30);
  sets[0] = {4, 9, 17, 29};
  Write(path, dataset, sets, 30);
  const auto source = Load(path, dataset);
  RandomStream random(1);
  std::vector<int> count(30, 0);
  for (int k = 0; k < 2000; ++k) {
    std::vector<int32_t> negatives{42};
    source->Draw(0, 2, &random, &negatives);
    ASSERT_EQ(negatives.size(), 3u);
    EXPECT_EQ(negatives[0], 42);
    EXPECT_NE(negatives[1], negatives[2]);
    ++count[static_cast<size_t>(negatives[1])];
    ++count[static_cast<size_t>(negatives[2])];
  }
  for (const size_t item : {4, 9, 17, 29}) EXPECT_NEAR(count[item], 1000, 120);
}

TEST(MinedHardSamples, RandomItemsThatNeverCooccurFillUp) {
  const std::string path = TestFolder() + "/sets";
  const Dataset dataset = Items(12);  // 0 and 1 share a history
  Sets sets(12);
  sets[0] = {5, 7};
  Write(path, dataset, sets, 12);
  const auto source = Load(path, dataset);
  for (uint64_t seed = 0; seed < 200; ++seed) {
    RandomStream random(seed);
    std::vector<int32_t> negatives;
    source->Draw(0, 6, &random, &negatives);
    ASSERT_EQ(negatives.size(), 6u);
    std::set<int32_t> distinct(negatives.begin(), negatives.end());
    EXPECT_EQ(distinct.size(), 6u);
    EXPECT_EQ(distinct.count(0) + distinct.count(1), 0u);
    EXPECT_EQ(distinct.count(5) + distinct.count(7), 2u);
  }
  EXPECT_EQ(source->ItemsWithFewerThan(2), 11);
  EXPECT_EQ(source->Sizes().empty, 11);
}

TEST(MinedHardSamples, TheSameStreamDrawsTheSame) {
  const std::string path = TestFolder() + "/sets";
  const Dataset dataset = Items(40);
  Write(path, dataset, RandomSets(9, 40), 16);
  const auto source = Load(path, dataset);
  std::vector<int32_t> first, second;
  RandomStream a(5), b(5);
  source->Draw(3, 5, &a, &first);
  source->Draw(3, 5, &b, &second);
  EXPECT_EQ(first, second);
}

}  // namespace
}  // namespace mixrec::data
