#include "common/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "common/progress_text.h"

namespace mixrec {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class ProgressLine : public ::testing::Test {
 protected:
  ProgressOptions Options(bool is_terminal) {
    ProgressOptions options;
    options.name = "train";
    options.total = 100;
    options.memory = false;
    options.is_terminal = is_terminal;
    options.columns = 0;
    options.now = [this] { return seconds_; };
    options.write = [this](std::string_view text) { written_.emplace_back(text); };
    return options;
  }

  double seconds_ = 1000;
  std::vector<std::string> written_;
};

TEST_F(ProgressLine, SaysStepTextAndTimeLeft) {
  Progress progress(Options(/*is_terminal=*/false));
  seconds_ += 50;
  progress.Update(20, "loss 1.5");
  EXPECT_THAT(written_, ElementsAre("train 20/100 (20%) | loss 1.5 | 3m20s left\n"));
}

TEST_F(ProgressLine, PlainLinesKeepTheirDistance) {
  Progress progress(Options(/*is_terminal=*/false));
  for (int64_t step = 1; step <= 25; ++step) {
    seconds_ += 1;
    progress.Update(step, "");
  }
  EXPECT_THAT(written_,
              ElementsAre("train 1/100 (1%) | 1m39s left\n", "train 11/100 (11%) | 1m29s left\n",
                          "train 21/100 (21%) | 1m19s left\n"));
}

TEST_F(ProgressLine, ShortWorkMayStaySilentInPlainLines) {
  ProgressOptions options = Options(/*is_terminal=*/false);
  options.silent_when_short = true;
  Progress progress(options);
  seconds_ += 9;
  progress.Update(100, "");
  EXPECT_THAT(written_, IsEmpty());
  seconds_ += 2;
  progress.Update(100, "");
  EXPECT_EQ(written_.size(), 1u);
}

TEST_F(ProgressLine, LastStepAlwaysPrints) {
  Progress progress(Options(/*is_terminal=*/false));
  progress.Update(99, "");
  seconds_ += 1;
  progress.Update(100, "");
  ASSERT_EQ(written_.size(), 2u);
  EXPECT_EQ(written_[1], "train 100/100 (100%) | 0s left\n");
}

TEST_F(ProgressLine, TerminalLineIsWrittenOverAndEndedOnce) {
  {
    Progress progress(Options(/*is_terminal=*/true));
    seconds_ += 1;
    progress.Update(1, "a");
    progress.Finish();
  }
  EXPECT_THAT(written_, ElementsAre("\rtrain 1/100 (1%) | a | 1m39s left\x1b[K", "\n"));
}

TEST_F(ProgressLine, NothingIsWrittenWithoutAnUpdate) {
  { const Progress progress(Options(/*is_terminal=*/true)); }
  EXPECT_THAT(written_, IsEmpty());
}

TEST_F(ProgressLine, TerminalLineIsCutBeforeTheEdgeAndNotInsideACharacter) {
  ProgressOptions options = Options(/*is_terminal=*/true);
  options.total = 0;
  options.columns = 13;
  Progress progress(options);
  progress.Update(1, "a\u00e9z");  // the cut, 12 bytes, falls inside the é
  EXPECT_EQ(written_[0], "\rtrain 1 | a\x1b[K");
}

TEST_F(ProgressLine, TimeLeftCountsOnlyTheStepsOfThisProcess) {
  ProgressOptions options = Options(/*is_terminal=*/false);
  options.first_step = 80;
  Progress progress(options);
  EXPECT_LT(progress.SecondsLeft(80), 0);
  seconds_ += 10;
  EXPECT_DOUBLE_EQ(progress.SecondsLeft(90), 10);
}

TEST_F(ProgressLine, TimeLeftIsNotGuessedInTheFirstSecond) {
  Progress progress(Options(/*is_terminal=*/false));
  seconds_ += 0.5;
  EXPECT_LT(progress.SecondsLeft(1), 0);
  seconds_ += 0.5;
  EXPECT_DOUBLE_EQ(progress.SecondsLeft(1), 99);
}

TEST_F(ProgressLine, MemoryIsShown) {
  ProgressOptions options = Options(/*is_terminal=*/false);
  options.memory = true;
  Progress progress(options);
  progress.Update(1, "");
  EXPECT_THAT(written_[0], ::testing::HasSubstr("iB\n"));
}

TEST(ProgressText, DurationsAreShort) {
  EXPECT_EQ(DurationText(0), "0s");
  EXPECT_EQ(DurationText(59.4), "59s");
  EXPECT_EQ(DurationText(59.6), "1m00s");
  EXPECT_EQ(DurationText(200), "3m20s");
  EXPECT_EQ(DurationText(3720), "1h02m");
  EXPECT_EQ(DurationText(183600), "2d03h");
  EXPECT_EQ(DurationText(-1), "?");
  EXPECT_EQ(DurationText(std::numeric_limits<double>::infinity()), "?");
}

TEST(ProgressText, SizesHaveTwoDigits) {
  EXPECT_EQ(BytesText(0), "0 B");
  EXPECT_EQ(BytesText(1023), "1023 B");
  EXPECT_EQ(BytesText(1024), "1.0 KiB");
  EXPECT_EQ(BytesText(1536), "1.5 KiB");
  EXPECT_EQ(BytesText(20 << 20), "20 MiB");
  EXPECT_EQ(BytesText((int64_t{1} << 20) - 1), "1.0 MiB");
  EXPECT_EQ(BytesText(int64_t{3} << 40), "3.0 TiB");
}

TEST(ProgressText, MemoryOfThisProcessIsKnown) {
  const MemoryUsage usage = ThisProcessMemory();
  EXPECT_GT(usage.resident, 1 << 20);
  EXPECT_GE(usage.peak, usage.resident);
}

}  // namespace
}  // namespace mixrec
