#include "launch/flag_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "common/file.h"
#include "launch/flag_line.h"

namespace mixrec::launch {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Values = std::map<std::string, std::string>;

FlagTable SmallTable() {
  FlagTable table;
  FlagRange positive;
  positive.low = 1;
  FlagRange mode;
  mode.choices = {"mixrec", "base"};
  table.Add({"batch", FlagType::kInteger, "6", "", positive, {"train"}});
  table.Add({"lr", FlagType::kReal, "5e-05", "", {}, {"train"}});
  table.Add({"mode", FlagType::kText, "mixrec", "", mode, {"train"}});
  table.Add({"data", FlagType::kText, "", "", {}, {"train", "search"}});
  table.Add({"resume", FlagType::kBool, "true", "", {}, {"train"}});
  table.Add({"trials", FlagType::kInteger, "30", "", {}, {"search"}});
  return table;
}

std::string WriteFlags(const std::string& name, const std::string& content) {
  const std::string folder = ::testing::TempDir() + "/flag_reader_test";
  EXPECT_TRUE(MakeFolder(folder).ok());
  EXPECT_TRUE(WriteFileAtomic(folder + "/" + name, content).ok());
  return folder + "/" + name;
}

absl::StatusOr<Values> Read(const std::vector<std::string>& arguments) {
  MIXREC_ASSIGN_OR_RETURN(const auto flags, ReadFlags(SmallTable(), "train", arguments));
  Values values;
  for (const FlagAssignment& flag : flags) values[flag.name] = flag.value;
  return values;
}

std::string ErrorOf(const std::vector<std::string>& arguments) {
  const auto values = Read(arguments);
  EXPECT_FALSE(values.ok());
  EXPECT_EQ(ExitCodeOf(values.status()), kExitUsage);
  return StatusText(values.status());
}

TEST(FlagReader, TheCommandLineWinsWhateverTheOrder) {
  const std::string file = WriteFlags("lr.flags", "--lr=0.01\n--batch=8\n");
  const Values expected{{"lr", "0.5"}, {"batch", "8"}};
  EXPECT_EQ(Read({"--lr=0.5", "--flagfile=" + file}).value(), expected);
  EXPECT_EQ(Read({"--flagfile=" + file, "--lr=0.5"}).value(), expected);
}

TEST(FlagReader, AnUnknownNameInAFlagFileStopsWithFileAndLineAndASuggestion) {
  const std::string file = WriteFlags("typo.flags", "# a comment\n\n--bacth=64\n");
  EXPECT_THAT(ErrorOf({"--flagfile", file}),
              StartsWith(file + ":3: unknown flag --bacth (did you mean --batch?)"));
}

TEST(FlagReader, AnUnknownNameOnTheCommandLineStops) {
  EXPECT_THAT(ErrorOf({"--bacth=64"}), StartsWith("unknown flag --bacth (did you mean --batch?)"));
  EXPECT_THAT(ErrorOf({"--zebra=64"}), Not(HasSubstr("did you mean")));
}

TEST(FlagReader, AMissingValueStops) {
  const std::string file = WriteFlags("missing.flags", "--batch\n");
  EXPECT_THAT(ErrorOf({"--flagfile=" + file}), StartsWith(file + ":1: --batch has no value"));
  EXPECT_THAT(ErrorOf({"--batch"}), StartsWith("--batch has no value"));
  EXPECT_THAT(ErrorOf({"--batch", "--lr=1"}), StartsWith("--batch has no value"));
}

TEST(FlagReader, ABadValueNamesPlaceTypeAndRange) {
  const std::string file = WriteFlags("bad.flags", "--lr=1e-3\n--batch=abc  # no number\n");
  EXPECT_EQ(ErrorOf({"--flagfile=" + file}),
            file + ":2: --batch=abc: expected a whole number of at least 1");
  EXPECT_EQ(ErrorOf({"--batch=1e3"}), "--batch=1e3: expected a whole number of at least 1");
  EXPECT_EQ(ErrorOf({"--batch=0"}), "--batch=0: expected a whole number of at least 1");
  EXPECT_EQ(ErrorOf({"--lr=fast"}), "--lr=fast: expected a number");
  EXPECT_EQ(ErrorOf({"--lr=nan"}), "--lr=nan: expected a number");
  EXPECT_EQ(ErrorOf({"--mode=best"}), "--mode=best: expected one of mixrec, base");
  EXPECT_EQ(ErrorOf({"--resume=maybe"}), "--resume=maybe: expected true or false");
}

TEST(FlagReader, ABooleanTakesItsValueOnlyAfterAnEqualsSign) {
  EXPECT_THAT(ErrorOf({"--resume", "false"}),
              StartsWith("unexpected argument \"false\"; write --resume=false"));
  EXPECT_EQ(Read({"--resume"}).value(), (Values{{"resume", "true"}}));
  EXPECT_EQ(Read({"--noresume"}).value(), (Values{{"resume", "false"}}));
}

TEST(FlagReader, StrayWordsStop) {
  EXPECT_EQ(ErrorOf({"--batch", "3", "more"}), "unexpected argument \"more\"");
  const std::string file = WriteFlags("stray.flags", "batch=3\n");
  EXPECT_THAT(ErrorOf({"--flagfile=" + file}), StartsWith(file + ":1: expected --name=value"));
}

TEST(FlagReader, OneFlagALine) {
  const std::string file = WriteFlags("two.flags", "--lr=0.01 --batch=64\n");
  EXPECT_THAT(ErrorOf({"--flagfile=" + file}), StartsWith(file + ":1: two flags in one line"));
}

TEST(FlagReader, AFlagOfAnotherCommandIsFineInAFileOnly) {
  const std::string file = WriteFlags("shared.flags", "--trials=12\n--batch=2\n");
  EXPECT_EQ(Read({"--flagfile=" + file}).value(), (Values{{"batch", "2"}}));
  EXPECT_EQ(ErrorOf({"--trials=12"}),
            "`mixrec train` does not take --trials; it is a flag of search");
  const std::string bad = WriteFlags("shared_bad.flags", "--trials=many\n");
  EXPECT_THAT(ErrorOf({"--flagfile=" + bad}), StartsWith(bad + ":1: --trials=many"));
}

TEST(FlagReader, AnIncludedFileIsFoundBesideTheIncludingOne) {
  WriteFlags("inner.flags", "--lr=0.01\n--batch=8\n");
  const std::string outer = WriteFlags("outer.flags", "--flagfile=inner.flags\n--batch=9 # more\n");
  EXPECT_EQ(Read({"--flagfile=" + outer}).value(), (Values{{"lr", "0.01"}, {"batch", "9"}}));
}

TEST(FlagReader, AFileThatIncludesItselfStops) {
  WriteFlags("loop_a.flags", "--flagfile=loop_b.flags\n");
  const std::string b = WriteFlags("loop_b.flags", "\n--flagfile=loop_a.flags\n");
  EXPECT_THAT(ErrorOf({"--flagfile=" + b}), HasSubstr("includes itself"));
}

TEST(FlagReader, AMissingFlagFileIsAUsageErrorThatNamesIt) {
  EXPECT_THAT(ErrorOf({"--flagfile=/nowhere/x.flags"}), HasSubstr("/nowhere/x.flags"));
}

TEST(FlagReader, WrittenLinesReadBackAsTheSameValues) {
  for (const std::string value : {"", "plain", "two words", "a # b", "\"quoted\" \\ end", " x ",
                                  "tab\there", "line\nbreak", "--lr=1 --batch=2", "a=b"}) {
    const auto line = ParseFlagFileLine(FlagFileLine("data", value), "");
    ASSERT_TRUE(line.ok()) << value;
    EXPECT_EQ(line->name, "data");
    EXPECT_EQ(line->value, value);
  }
}

TEST(FlagReader, EditDistanceCountsASwapOnce) {
  EXPECT_EQ(EditDistance("bacth", "batch"), 1);
  EXPECT_EQ(EditDistance("", "abc"), 3);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3);
}

}  // namespace
}  // namespace mixrec::launch
