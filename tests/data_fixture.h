// Folders and data sets for the tests of data/.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "common/file.h"
#include "common/status.h"
#include "data/dataset.h"

namespace mixrec::data {

// An empty folder of the running test's own.
inline std::string TestFolder() {
  const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
  const std::string folder =
      ::testing::TempDir() + "/mixrec_" + test->test_suite_name() + "_" + test->name();
  std::filesystem::remove_all(folder);
  EXPECT_TRUE(MakeFolder(folder).ok());
  return folder;
}

// Where the reference data and golden values lie; may be absent.
inline std::string SharedFolder() {
  const char* folder = std::getenv("MIXREC_SHARED");
  return folder != nullptr ? folder : std::string(MIXREC_SOURCE) + "/../shared";
}

// Without WriteFileAtomic's fsync: these tests write thousands of files.
inline void WritePlain(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

inline void WriteDataset(const std::string& folder, const std::string& inter,
                         const std::string& item) {
  WritePlain(folder + "/d.inter", inter);
  WritePlain(folder + "/d.item", item);
}

// Loads what is in the folder, keeping every item.
inline absl::StatusOr<Dataset> LoadAll(const std::string& folder) {
  DatasetOptions options;
  options.folder = folder;
  options.min_item_interactions = 1;
  return LoadDataset(options);
}

}  // namespace mixrec::data

// In a test: skips it when a file of the shared folder is not there.
#define MIXREC_SKIP_WITHOUT(path) \
  if (!::mixrec::PathExists(path)) GTEST_SKIP() << path << " is absent; set MIXREC_SHARED"
