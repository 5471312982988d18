#include "common/file.h"

#include <gtest/gtest.h>

#include <filesystem>

namespace mixrec {
namespace {

std::string TestFolder() {
  const std::string folder = ::testing::TempDir() + "/file_test";
  std::filesystem::remove_all(folder);
  EXPECT_TRUE(MakeFolder(folder + "/deep/er").ok());
  return folder;
}

TEST(File, WriteThenReadAndMapGiveTheSameBytes) {
  const std::string path = TestFolder() + "/deep/er/file";
  const std::string content("a\0b\n", 4);
  ASSERT_TRUE(WriteFileAtomic(path, content).ok());
  EXPECT_EQ(ReadFile(path).value(), content);
  EXPECT_EQ(MappedFile::Open(path).value().bytes(), content);
  EXPECT_EQ(FileHash(path).value(), ContentHash(content));
}

TEST(File, AFailedWriteLeavesTheOldFileAndNoTemporary) {
  const std::string folder = TestFolder();
  const std::string path = folder + "/deep";  // a folder: the rename must fail
  EXPECT_FALSE(WriteFileAtomic(path, "x").ok());
  int entries = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    EXPECT_EQ(entry.path().filename(), "deep");
    ++entries;
  }
  EXPECT_EQ(entries, 1);
}

TEST(File, AMissingFileIsNotFoundAndNamed) {
  const auto content = ReadFile("/nonexistent/file");
  EXPECT_EQ(content.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(content.status().message().find("/nonexistent/file"), std::string::npos);
  EXPECT_EQ(ExitCodeOf(content.status()), kExitData);
}

}  // namespace
}  // namespace mixrec
