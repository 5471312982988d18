// Which systems a list of names stands for.
#include "launch/table_systems.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "common/file.h"
#include "launch/verbs.h"
#include "tests/test_folder.h"

namespace mixrec::launch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TableSystems : public ::testing::Test {
 protected:
  void SetUp() override {
    Write("base.flags", "# The base.\n--mode=base\n");
    Write("wide.flags", "--bottleneck=128  # wider\n--trials=3\n");
    Write("both.group", "# two of them\nbase\nwide:2  # seeds\n");
    Write("all.group", "both\nthin\n");
    Write("thin.flags", "# Thin\n--bottleneck=4\n");
    Write("loop.group", "loop\n");
  }
  void Write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomic(StrCat(folder_, "/", name), text).ok());
  }
  absl::StatusOr<std::vector<TableSystem>> Find(const std::string& list, int64_t seeds = 3) {
    return FindSystems(MakeFlagTable(Verbs(), "train"), list, folder_, seeds);
  }
  // "name:seeds", in order.
  std::vector<std::string> Named(const std::string& list) {
    std::vector<std::string> names;
    const std::vector<TableSystem> systems = Find(list).value();
    for (const TableSystem& system : systems) {
      names.push_back(StrCat(system.name, ":", system.seeds));
    }
    return names;
  }

  std::string folder_ = TestFolder();
};

TEST_F(TableSystems, GroupsAreOpenedAndTheFirstMentionCounts) {
  EXPECT_THAT(Named("base"), ElementsAre("base:3"));
  EXPECT_THAT(Named("thin:1,all"), ElementsAre("thin:1", "base:3", "wide:2"));
  EXPECT_THAT(Named("all:1"), ElementsAre("base:1", "wide:2", "thin:1"));
  EXPECT_THAT(Named(folder_ + "/thin.flags:2"), ElementsAre("thin:2"));
}

TEST_F(TableSystems, ASystemIsItsFileForTraining) {
  const auto systems = Find("base,wide").value();
  EXPECT_EQ(systems[0].title, "The base");
  EXPECT_THAT(systems[0].flags, ElementsAre(std::pair("mode", "base")));
  EXPECT_EQ(systems[1].title, "wide");  // no comment in its first line
  EXPECT_THAT(systems[1].flags, ElementsAre(std::pair("bottleneck", "128")));
}

TEST_F(TableSystems, WhatIsWrongIsNamed) {
  EXPECT_THAT(Find("bsae").status().message(), HasSubstr("\"bsae\""));
  EXPECT_THAT(Find("bsae").status().message(), HasSubstr("all, base, both"));
  EXPECT_THAT(Find("base:x").status().message(), HasSubstr("NAME:SEEDS"));
  EXPECT_THAT(Find("base:0").status().message(), HasSubstr("NAME:SEEDS"));
  EXPECT_THAT(Find("").status().message(), HasSubstr("names no system"));
  EXPECT_THAT(Find("loop").status().message(), HasSubstr("contain each other"));
  Write("bad.flags", "\n--bottelneck=3\n");
  EXPECT_THAT(Find("bad").status().message(), HasSubstr("bad.flags:2: unknown flag --bottelneck"));
}

TEST(Configs, EveryVariationIsASystemAndEveryGroupExists) {
  const std::string folder = MIXREC_SOURCE_DIR "/configs/variations";
  const FlagTable table = MakeFlagTable(Verbs(), "train");
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const auto systems = FindSystems(table, entry.path().stem().string(), folder, 1);
    ASSERT_TRUE(systems.ok()) << systems.status();
    for (const TableSystem& system : *systems) EXPECT_NE(system.title, system.name);
    ++count;
  }
  EXPECT_GE(count, 40);
  for (const char* name : {"mixrec", "serial", "base", "llmrec", "moe", "mf", "frozen-ncf"}) {
    EXPECT_TRUE(PathExists(StrCat(folder, "/", name, ".flags"))) << name;
  }
}

}  // namespace
}  // namespace mixrec::launch
