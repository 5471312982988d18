// main of every test program: ctest runs each test as a process of its own, several at a time, so
// each process gets a TempDir() of its own, removed at the end.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace {

// ctest starts tests in the build folder: a relative MIXREC_SHARED counts from the source folder.
void ResolveSharedFolder() {
  const char* shared = std::getenv("MIXREC_SHARED");
  if (shared == nullptr || *shared == '\0' || std::filesystem::path(shared).is_absolute()) return;
  const std::filesystem::path folder = std::filesystem::path(MIXREC_SOURCE_DIR) / shared;
  if (std::filesystem::exists(folder)) ::setenv("MIXREC_SHARED", folder.c_str(), /*overwrite=*/1);
}

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  ResolveSharedFolder();
  std::string folder = ::testing::TempDir() + "test.XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) {
    std::perror(folder.c_str());
    return 1;
  }
  ::setenv("TEST_TMPDIR", (folder + "/").c_str(), /*overwrite=*/1);
  const int result = RUN_ALL_TESTS();
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return result;
}
