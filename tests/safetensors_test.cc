// The safetensors format: round trips, and files that lie.
#include "model/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "common/file.h"
#include "common/random.h"

namespace mixrec::model {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SafetensorsTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // A file with this header and this many bytes of values.
  absl::StatusOr<SafetensorsFile> OpenWith(const std::string& header, size_t value_bytes) {
    const uint64_t length = header.size();
    std::string content(8, '\0');
    std::memcpy(content.data(), &length, 8);
    return OpenBytes(content + header + std::string(value_bytes, '\1'));
  }
  absl::StatusOr<SafetensorsFile> OpenBytes(const std::string& content) {
    std::ofstream(path_, std::ios::binary) << content;
    return SafetensorsFile::Open(path_);
  }
  void ExpectRefused(const absl::StatusOr<SafetensorsFile>& file, const std::string& what) {
    ASSERT_FALSE(file.ok());
    EXPECT_EQ(ExitCodeOf(file.status()), kExitData);
    const std::string message(file.status().message());
    EXPECT_THAT(message, HasSubstr(what));
    EXPECT_THAT(message, HasSubstr(path_));
  }

  std::string folder_ = ::testing::TempDir() + "safetensors_test";
  std::string path_ = folder_ + "/x.safetensors";
};

NamedTensors Examples() {
  NamedTensors tensors;
  for (const at::ScalarType type : {at::kBool, at::kByte, at::kFloat, at::kHalf, at::kBFloat16,
                                    at::kLong, at::kInt, at::kDouble}) {
    tensors.emplace_back(std::string("of ") + c10::toString(type),
                         at::arange(6).remainder(2).view({3, 2}).to(type));
  }
  tensors.emplace_back("scalar", at::scalar_tensor(2.5, at::kFloat));
  tensors.emplace_back("empty", at::empty({0, 4}, at::kFloat));
  tensors.emplace_back("transposed", at::arange(6, at::kFloat).view({2, 3}).t());
  return tensors;
}

TEST_F(SafetensorsTest, EveryTypeSurvivesARoundTrip) {
  const NamedTensors tensors = Examples();
  ASSERT_TRUE(WriteSafetensors(path_, tensors, {{"format", "pt"}}).ok());
  auto file = SafetensorsFile::Open(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->names().size(), tensors.size());
  EXPECT_EQ(file->metadata().at("format"), "pt");
  for (const auto& [name, expected] : tensors) {
    const auto found = file->Get(name);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(found->scalar_type(), expected.scalar_type()) << name;
    EXPECT_EQ(found->sizes(), expected.sizes()) << name;
    EXPECT_TRUE(at::equal(*found, expected)) << name;
  }
}

TEST_F(SafetensorsTest, SameInputGivesSameBytesAndNoTemporaryFileStays) {
  ASSERT_TRUE(WriteSafetensors(path_, Examples(), {{"b", "2"}, {"a", "1"}}).ok());
  const std::string first = *ReadFile(path_);
  ASSERT_TRUE(WriteSafetensors(path_, Examples(), {{"a", "1"}, {"b", "2"}}).ok());
  EXPECT_EQ(*ReadFile(path_), first);
  const auto files = std::filesystem::directory_iterator(folder_);
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
}

TEST_F(SafetensorsTest, EveryTensorStartsAtAMultipleOfItsElementSize) {
  ASSERT_TRUE(WriteSafetensors(path_,
                               {{"byte", at::zeros({3}, at::kByte)},
                                {"float", at::zeros({2}, at::kFloat)},
                                {"second", at::ones({1}, at::kFloat)}},
                               {})
                  .ok());
  auto file = SafetensorsFile::Open(path_);
  ASSERT_TRUE(file.ok());
  EXPECT_THAT(file->names(), ElementsAre("float", "second", "byte"));
  uint64_t header = 0;
  std::memcpy(&header, ReadFile(path_)->data(), 8);
  EXPECT_EQ(header % 8, 0u);
}

TEST_F(SafetensorsTest, WritingIntoAMissingFolderNamesThePath) {
  const absl::Status status = WriteSafetensors(folder_ + "/no/x", Examples(), {});
  EXPECT_THAT(std::string(status.message()), HasSubstr(folder_ + "/no/x"));
}

TEST_F(SafetensorsTest, MissingTensorIsNamed) {
  ASSERT_TRUE(WriteSafetensors(path_, Examples(), {}).ok());
  auto file = SafetensorsFile::Open(path_);
  ASSERT_TRUE(file.ok());
  EXPECT_THAT(std::string(file->Get("nobody").status().message()), HasSubstr("\"nobody\""));
}

TEST_F(SafetensorsTest, BoolsOtherThanZeroAndOneAreReadAsTrue) {
  auto file = OpenWith(R"({"a":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}})", 0);
  ASSERT_FALSE(file.ok());
  const std::string good = *ReadFile(path_) + std::string("\0\7", 2);
  file = OpenBytes(good);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(at::equal(*file->Get("a"), at::tensor({0, 1}, at::kLong).to(at::kBool)));
}

TEST_F(SafetensorsTest, TruncatedFilesAreRefused) {
  ExpectRefused(OpenBytes(""), "truncated");
  ExpectRefused(OpenBytes("1234567"), "truncated");
  ASSERT_TRUE(WriteSafetensors(path_, Examples(), {}).ok());
  const std::string whole = *ReadFile(path_);
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(OpenBytes(whole.substr(0, size)).ok()) << size << " bytes";
  }
}

TEST_F(SafetensorsTest, HugeHeaderLengthsAreRefused) {
  for (const uint64_t length : {uint64_t{100}, uint64_t{1} << 40, ~uint64_t{0}, ~uint64_t{7}}) {
    std::string content(64, ' ');
    std::memcpy(content.data(), &length, 8);
    ExpectRefused(OpenBytes(content), "header claims");
  }
}

TEST_F(SafetensorsTest, HeadersThatAreNoJsonObjectAreRefused) {
  for (const char* header : {"", "[]", "{", "nonsense", "{\"\xff\":1}", "3"}) {
    ExpectRefused(OpenWith(header, 0), "JSON");
  }
  ExpectRefused(OpenWith(std::string(200'000, '['), 0), "nested");
  ExpectRefused(OpenWith(R"({"__metadata__":{"a":1}})", 0), "not a string");
  ExpectRefused(OpenWith(R"({"__metadata__":[]})", 0), "__metadata__");
}

TEST_F(SafetensorsTest, TensorsThatLieAreRefusedByName) {
  const auto entry = [](const std::string& dtype, const std::string& shape,
                        const std::string& offsets) {
    return R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" +
           offsets + "}}";
  };
  const struct {
    std::string header;
    const char* what;
  } cases[] = {
      {entry("F32", "[2]", "[0,16]"), "outside"},
      {entry("F32", "[2]", "[8,0]"), "outside"},
      {entry("F32", "[2]", "[18446744073709551608,18446744073709551615]"), "outside"},
      {entry("F32", "[2]", "[-8,0]"), "whole numbers"},
      {entry("F32", "[2]", "[0,8.0]"), "whole numbers"},
      {entry("F32", "[2]", "[0]"), "whole numbers"},
      {entry("F32", "[2]", "\"0,8\""), "whole numbers"},
      {entry("F32", "[3]", "[0,8]"), "need 12"},
      {entry("F64", "[2]", "[0,8]"), "need 16"},
      {entry("F33", "[2]", "[0,8]"), "F33"},
      {entry("F32", "[-2]", "[0,8]"), "whole number"},
      {entry("F32", "[4294967296,4294967296,4294967296]", "[0,8]"), "overflows"},
      {entry("F32", "[4294967296,4294967296,0]", "[0,0]"), "overflows"},
      {entry("F32", "[18446744073709551615]", "[0,8]"), "overflows"},
      {entry("F32", "{}", "[0,8]"), "expected dtype"},
      {R"({"a":5})", "expected dtype"},
      {R"({"a":{}})", "expected dtype"},
      {R"({"a":{"dtype":5,"shape":[2],"data_offsets":[0,8]}})", "expected dtype"},
  };
  for (const auto& lie : cases) {
    SCOPED_TRACE(lie.header);
    const auto file = OpenWith(lie.header, 8);
    ExpectRefused(file, lie.what);
    ExpectRefused(file, "\"a\"");
  }
}

TEST_F(SafetensorsTest, OverlapsGapsAndDuplicatesAreRefused) {
  const auto two = [](const std::string& second, const std::string& offsets) {
    return R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},")" + second +
           R"(":{"dtype":"U8","shape":[4],"data_offsets":)" + offsets + "}}";
  };
  EXPECT_TRUE(OpenWith(two("b", "[4,8]"), 8).ok());
  ExpectRefused(OpenWith(two("b", "[2,6]"), 8), "overlaps");
  ExpectRefused(OpenWith(two("b", "[0,4]"), 8), "overlaps");
  ExpectRefused(OpenWith(two("b", "[6,10]"), 10), "belong to no tensor");
  ExpectRefused(OpenWith(two("b", "[4,8]"), 9), "belong to no tensor");
  ExpectRefused(OpenWith(two("a", "[4,8]"), 8), "twice");
}

TEST_F(SafetensorsTest, RandomDamageNeverCrashes) {
  ASSERT_TRUE(WriteSafetensors(path_, Examples(), {{"format", "pt"}}).ok());
  const std::string whole = *ReadFile(path_);
  RandomStream random(HashKey(1, "damage"));
  int refused = 0;
  for (int round = 0; round < 1000; ++round) {
    std::string damaged = whole;
    for (uint64_t changes = 1 + random.Below(4); changes > 0; --changes) {
      damaged[random.Below(damaged.size())] = static_cast<char>(random.Below(256));
    }
    if (random.Below(4) == 0) damaged.resize(random.Below(damaged.size()));
    auto file = OpenBytes(damaged);
    if (!file.ok()) ++refused;
    if (!file.ok()) continue;
    for (const std::string& name : file->names()) EXPECT_TRUE(file->Get(name).ok());
  }
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace mixrec::model
