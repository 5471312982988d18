#include "ps/snapshot.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <utility>
#include <vector>

#include "snapshot_fixture.h"
#include "test_folder.h"

namespace mixrec::ps {
namespace {

bool SameState(const Table& a, const Table& b) {
  const auto state = [](const Table& table) {
    const auto rows = static_cast<size_t>(table.layout().local_rows());
    std::pair<std::vector<float>, std::vector<int32_t>> of{
        std::vector<float>(rows * static_cast<size_t>(table.state_width())),
        std::vector<int32_t>(rows)};
    table.ReadState(0, table.layout().local_rows(), of.first.data(), of.second.data());
    return of;
  };
  return state(a) == state(b);
}

TEST(Snapshot, OfAnyNumberOfShardsIsRestoredOntoAnyOtherBitForBit) {
  for (const int64_t from : {1, 3, 7}) {
    const std::string folder = TestFolder();
    std::vector<Shard> saved = MakeShards(from);
    for (Shard& shard : saved) {
      for (auto& table : shard.tables) Train(table.get());
    }
    ASSERT_TRUE(Save(folder, 17, saved).ok());
    EXPECT_TRUE(CheckSnapshot(folder).ok()) << CheckSnapshot(folder);
    const auto info = ReadSnapshotInfo(folder);
    ASSERT_TRUE(info.ok());
    EXPECT_EQ(info->step, 17);
    EXPECT_TRUE(info->tables[0] == ItemSpec() && info->tables[1] == UserSpec());
    for (const int64_t to : {1, 2, 5}) {
      std::vector<Shard> expected = MakeShards(to), restored = MakeShards(to);
      for (size_t s = 0; s < restored.size(); ++s) {
        for (size_t t = 0; t < 2; ++t) {
          Train(expected[s].tables[t].get());
          const absl::Status read = ReadSnapshotTable(folder, restored[s].tables[t].get());
          ASSERT_TRUE(read.ok()) << read;
          EXPECT_TRUE(SameState(*restored[s].tables[t], *expected[s].tables[t]));
          Train(expected[s].tables[t].get());  // moments and counts are there, too
          Train(restored[s].tables[t].get());
          EXPECT_TRUE(SameState(*restored[s].tables[t], *expected[s].tables[t]));
        }
      }
    }
  }
}

TEST(Snapshot, ShardsWithoutRowsAreNoHindrance) {
  const std::string folder = TestFolder();
  ASSERT_TRUE(Save(folder, 1, MakeShards(7, 3)).ok());
  EXPECT_TRUE(CheckSnapshot(folder).ok());
  Table whole(UserSpec(3), {}, at::kCPU);
  EXPECT_TRUE(ReadSnapshotTable(folder, &whole).ok());
}

TEST(Snapshot, GoesFromNamedTensorsToShardsAndBack) {
  Table embedded(UserSpec(), {}, at::kCPU);
  Train(&embedded);
  NamedTensors tensors = embedded.Values();
  for (const auto& tensor : embedded.OptimizerState()) tensors.push_back(tensor);
  Table copy(UserSpec(), {}, at::kCPU);
  ASSERT_TRUE(SetTensors(tensors, &copy).ok());
  const std::string folder = TestFolder();
  ASSERT_TRUE(WriteSnapshot(folder, 5, {&copy}).ok());
  Table back(UserSpec(), {}, at::kCPU);
  ASSERT_TRUE(ReadSnapshotTable(folder, &back).ok());
  EXPECT_TRUE(SameState(back, embedded));
  tensors.erase(tensors.begin());
  EXPECT_FALSE(SetTensors(tensors, &copy).ok());
}

TEST(SetTensors, TakesAFlatBiasAndValuesWithoutMoments) {
  Table table(ItemSpec(10), {}, at::kCPU);
  Train(&table);
  const at::Tensor bias = at::randn({10});
  ASSERT_TRUE(
      SetTensors({{"item_proj.weight", at::ones({10, 6})}, {"item_proj.bias", bias}}, &table).ok());
  EXPECT_TRUE(at::equal(table.PartValues(1).squeeze(1), bias));
  for (const auto& [name, state] : table.OptimizerState()) {
    EXPECT_EQ(state.count_nonzero().item<int64_t>(), 0) << name;
  }
  EXPECT_FALSE(
      SetTensors({{"item_proj.weight", at::ones({9, 6})}, {"item_proj.bias", bias}}, &table).ok());
}

TEST(Snapshot, WithoutItsManifestItDoesNotExist) {
  const std::string folder = TestFolder();
  const std::vector<Shard> shards = MakeShards(2);
  ASSERT_TRUE(WriteSnapshotFile(folder, shards[0].Content(1)).ok());
  EXPECT_FALSE(CheckSnapshot(folder).ok());
  Table table(UserSpec(), {}, at::kCPU);
  EXPECT_FALSE(ReadSnapshotTable(folder, &table).ok());
}

TEST(Snapshot, ThatLacksAShardIsRefused) {
  const std::string folder = TestFolder();
  const std::vector<Shard> shards = MakeShards(3);
  const auto first = WriteSnapshotFile(folder, shards[0].Content(1));
  const auto last = WriteSnapshotFile(folder, shards[2].Content(1));
  ASSERT_TRUE(WriteSnapshotManifest(folder, 1, {*first, *last}).ok());
  EXPECT_FALSE(CheckSnapshot(folder).ok());
  const auto middle = WriteSnapshotFile(folder, shards[1].Content(1));
  ASSERT_TRUE(WriteSnapshotManifest(folder, 1, {*first, *middle, *last, *middle}).ok());
  EXPECT_FALSE(CheckSnapshot(folder).ok());
  EXPECT_FALSE(WriteSnapshotManifest(folder, 1, {{"rows-elsewhere.bin", 1, ""}}).ok());
}

TEST(Snapshot, OfShardsOfDifferentStepsIsRefused) {
  const std::string folder = TestFolder();
  const std::vector<Shard> shards = MakeShards(2);
  const auto first = WriteSnapshotFile(folder, shards[0].Content(1));
  const auto second = WriteSnapshotFile(folder, shards[1].Content(2));
  ASSERT_TRUE(WriteSnapshotManifest(folder, 1, {*first, *second}).ok());
  EXPECT_FALSE(CheckSnapshot(folder).ok());
}

TEST(Snapshot, AFileWrittenLateDoesNotReplaceAFinishedOne) {
  const std::string folder = TestFolder();
  std::vector<Shard> shards = MakeShards(1);
  ASSERT_TRUE(Save(folder, 4, shards).ok());
  Train(shards[0].tables[1].get());
  ASSERT_TRUE(WriteSnapshotFile(folder, shards[0].Content(4)).ok());  // a repeated request
  EXPECT_TRUE(CheckSnapshot(folder).ok());
  ASSERT_TRUE(Save(folder, 5, shards).ok());
  EXPECT_TRUE(CheckSnapshot(folder).ok());
  const auto files = std::filesystem::directory_iterator(folder);
  EXPECT_EQ(std::distance(begin(files), end(files)), 2);  // the manifest and its file
}

TEST(Snapshot, ForAnotherTableIsRefused) {
  const std::string folder = TestFolder();
  ASSERT_TRUE(Save(folder, 1, MakeShards(1)).ok());
  TableSpec spec = UserSpec(9000);
  Table fewer(spec, {}, at::kCPU);
  EXPECT_FALSE(ReadSnapshotTable(folder, &fewer).ok());
  spec = UserSpec();
  spec.parts[0].width = 4;
  Table wider(spec, {}, at::kCPU);
  EXPECT_FALSE(ReadSnapshotTable(folder, &wider).ok());
  spec = UserSpec();
  spec.optimizer.kind = Optimizer::kSgd;
  Table other(spec, {}, at::kCPU);
  EXPECT_FALSE(ReadSnapshotTable(folder, &other).ok());
  spec = UserSpec();
  spec.name = "cf.item";
  Table unknown(spec, {}, at::kCPU);
  EXPECT_FALSE(ReadSnapshotTable(folder, &unknown).ok());
}

TEST(Snapshot, AFullDiskLeavesTheOldOneAndNamesTheFolder) {
  const std::string folder = TestFolder();
  std::vector<Shard> shards = MakeShards(1);
  ASSERT_TRUE(Save(folder, 1, shards).ok());
  Train(shards[0].tables[0].get());
  // A limit on the size of files stands in for the end of the disk.
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{65536, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto saved = WriteSnapshotFile(folder, shards[0].Content(2));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  ASSERT_FALSE(saved.ok());
  EXPECT_NE(std::string(saved.status().message()).find(folder), std::string::npos);
  EXPECT_TRUE(CheckSnapshot(folder).ok());
  EXPECT_EQ(ReadSnapshotInfo(folder)->step, 1);
  const auto files = std::filesystem::directory_iterator(folder);
  EXPECT_EQ(std::distance(begin(files), end(files)), 2);
}

}  // namespace
}  // namespace mixrec::ps
