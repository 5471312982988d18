// Where a test may write, and where the reference data lie.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "common/file.h"

namespace mixrec {

// An empty folder of the running test's own.
inline std::string TestFolder() {
  const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
  const std::string folder =
      ::testing::TempDir() + "/mixrec_" + test->test_suite_name() + "_" + test->name();
  std::filesystem::remove_all(folder);
  EXPECT_TRUE(MakeFolder(folder).ok());
  return folder;
}

// $MIXREC_SHARED, by default beside the source folder; may be absent.
inline std::string SharedFolder() {
  const char* folder = std::getenv("MIXREC_SHARED");
  return folder != nullptr ? folder : std::string(MIXREC_SOURCE_DIR) + "/../shared";
}

}  // namespace mixrec
