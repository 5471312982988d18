#include "data/text_lines.h"

#include <gtest/gtest.h>

#include "tests/raw_fixture.h"
#include "tests/test_folder.h"

namespace mixrec::data {
namespace {

std::vector<std::string> Lines(const std::string& path) {
  auto lines = TextLines::Open(path);
  EXPECT_TRUE(lines.ok()) << lines.status();
  std::vector<std::string> read;
  std::string_view line;
  for (;;) {
    const auto more = lines->Next(&line);
    EXPECT_TRUE(more.ok()) << more.status();
    if (!more.ok() || !*more) return read;
    read.emplace_back(line);
    EXPECT_EQ(lines->number(), static_cast<int64_t>(read.size()));
  }
}

TEST(TextLines, GzipAndPlainTextReadAlike) {
  const std::string folder = TestFolder(), text = "a\n\nlast without an end";
  WriteGzip(folder + "/z", text);
  ASSERT_TRUE(WriteFileAtomic(folder + "/p", text).ok());
  const std::vector<std::string> expected{"a", "", "last without an end"};
  EXPECT_EQ(Lines(folder + "/z"), expected);
  EXPECT_EQ(Lines(folder + "/p"), expected);
}

TEST(TextLines, LinesLongerThanTheBufferComeWholeAndEndlessOnesAreCut) {
  const std::string folder = TestFolder(), line(700'000, 'x');
  const std::string endless(TextLines::kMaxLine + 9, 'y');
  WriteGzip(folder + "/z", line + "\n" + endless + "\nend\n");
  const std::vector<std::string> read = Lines(folder + "/z");
  ASSERT_EQ(read.size(), 3u);
  EXPECT_EQ(read[0], line);
  EXPECT_EQ(read[1].size(), TextLines::kMaxLine);
  EXPECT_EQ(read[2], "end");
}

TEST(TextLines, MembersOfAConcatenatedGzipFollowEachOther) {
  const std::string folder = TestFolder();
  WriteGzip(folder + "/a", "1\n");
  WriteGzip(folder + "/b", "2\n");
  ASSERT_TRUE(
      WriteFileAtomic(folder + "/ab", *ReadFile(folder + "/a") + *ReadFile(folder + "/b")).ok());
  EXPECT_EQ(Lines(folder + "/ab"), (std::vector<std::string>{"1", "2"}));
}

absl::Status ReadAll(const std::string& path) {
  MIXREC_ASSIGN_OR_RETURN(TextLines lines, TextLines::Open(path));
  std::string_view line;
  for (;;) {
    MIXREC_ASSIGN_OR_RETURN(const bool more, lines.Next(&line));
    if (!more) return absl::OkStatus();
  }
}

TEST(TextLines, TruncatedAndDamagedGzipAreDataErrors) {
  const std::string folder = TestFolder();
  std::string text;
  for (int line = 0; line < 20000; ++line) text += std::to_string(line * 7919) + "\n";
  WriteGzip(folder + "/z", text);
  std::string bytes = *ReadFile(folder + "/z");
  ASSERT_TRUE(WriteFileAtomic(folder + "/short", bytes.substr(0, bytes.size() / 2)).ok());
  EXPECT_EQ(ExitCodeOf(ReadAll(folder + "/short")), kExitData);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 0x55);
  ASSERT_TRUE(WriteFileAtomic(folder + "/bad", bytes).ok());
  EXPECT_EQ(ExitCodeOf(ReadAll(folder + "/bad")), kExitData);
  EXPECT_EQ(ExitCodeOf(ReadAll(folder + "/none")), kExitData);
}

}  // namespace
}  // namespace mixrec::data
