#include "net/curve_keys.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "common/file.h"
#include "test_folder.h"

namespace mixrec::net {
namespace {

TEST(CurveKeys, AFileIsMadeOnceForItsOwnerOnly) {
  const std::string path = TestFolder() + "/cluster.key";
  const CurveKeys made = ReadOrMakeCurveKeys(path).value();
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const CurveKeys again = ReadOrMakeCurveKeys(path).value();
  EXPECT_EQ(again.public_key, made.public_key);
  EXPECT_EQ(again.secret_key, made.secret_key);
}

TEST(CurveKeys, AFileThatOthersMayReadIsRefused) {
  const std::string path = TestFolder() + "/cluster.key";
  ASSERT_TRUE(ReadOrMakeCurveKeys(path).ok());
  ASSERT_EQ(::chmod(path.c_str(), 0640), 0);
  const auto keys = ReadOrMakeCurveKeys(path);
  EXPECT_EQ(keys.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(keys.status().message().find("chmod 600"), std::string::npos);
}

TEST(CurveKeys, ADamagedFileIsADataError) {
  const std::string path = TestFolder() + "/cluster.key";
  ASSERT_TRUE(ReadOrMakeCurveKeys(path).ok());
  std::string text = ReadFile(path).value();
  for (const size_t cut : {size_t{0}, size_t{10}, text.size() - 1}) {
    ASSERT_TRUE(WriteFileAtomic(path, text.substr(0, cut)).ok());
    ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
    EXPECT_EQ(ReadCurveKeys(path).status().code(), absl::StatusCode::kDataLoss) << cut;
  }
  EXPECT_EQ(ReadCurveKeys(path + ".absent").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace mixrec::net
