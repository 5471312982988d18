#include "data/amazon.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "common/stop_signal.h"
#include "data/raw_files.h"
#include "data/synth.h"
#include "tests/data_fixture.h"
#include "tests/raw_fixture.h"

namespace mixrec::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Amazon : public ::testing::Test {
 protected:
  Amazon() {
    options_.reviews = folder_ + "/reviews.json.gz";
    options_.meta = folder_ + "/meta.json.gz";
    options_.folder = folder_ + "/out";
    options_.min_item_interactions = 1;
    options_.max_broken_share = .6;
    options_.progress = false;
  }
  absl::StatusOr<AmazonReport> Prepare(const std::string& reviews, const std::string& meta) {
    WriteGzip(options_.reviews, reviews);
    WriteGzip(options_.meta, meta);
    return PrepareAmazon(options_);
  }
  std::string Written(const std::string& extension) const {
    return *ReadFile(options_.folder + "/out" + extension);
  }

  std::string folder_ = TestFolder();
  AmazonOptions options_;
};

TEST_F(Amazon, InteractionsAreWrittenByTimeAndItemsInTheOrderOfTheMetaFile) {
  const auto report =
      Prepare(ReviewLine("u2", "b", 30) + ReviewLine("u1", "a", 30, 4.5) + ReviewLine("u1", "b", 7),
              ItemLine("b", "Saw &quot;X&quot;") + ItemLine("a", "Hammer"));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(Written(".inter"),
            "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
            "u1\tb\t5\t7\nu2\tb\t5\t30\nu1\ta\t4.5\t30\n");
  const std::string rest = "\tMaker & Sons\tTools,Saws\tFirst. Second part.\n";
  EXPECT_EQ(Written(".item"),
            "item_id:token\ttitle:token_seq\tbrand:token_seq\tcategories:token_seq\t"
            "description:token_seq\nb\tSaw \"X\"" +
                rest + "a\tHammer" + rest);
}

TEST_F(Amazon, WhatCannotBeUsedIsCountedAndDropped) {
  const auto report =
      Prepare(ReviewLine("u", "a", 1) + ReviewLine("u", "a", 1, 2) + ReviewLine("u", "a", 2) +
                  ReviewLine("u", "nowhere", 1) + ReviewLine("u", "bare", 1),
              ItemLine("a", "") + ItemLine("a", "Good") + ItemLine("a", "Later") +
                  ItemLine("bare", " <br> ") + ItemLine("script", "var t = getTime()"));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->interactions, 2);
  EXPECT_EQ(report->repeated_reviews, 1);
  EXPECT_EQ(report->reviews_of_unknown, 1);
  EXPECT_EQ(report->reviews_of_untitled, 1);
  EXPECT_EQ(report->items_without_title, 2);
  EXPECT_EQ(report->repeated_items, 1);
  EXPECT_THAT(Written(".item"), HasSubstr("a\tGood\t"));
  EXPECT_THAT(Written(".item"), ::testing::Not(HasSubstr("Later")));
}

TEST_F(Amazon, BrokenLinesAreCountedWithTheirNumbers) {
  const std::string good = ReviewLine("u", "a", 1);
  const auto report = Prepare(
      good + "{'reviewerID': 'u'}\n\n" + "{\"asin\": \"a\"}\n" + ReviewLine("u", "a", -5) +
          ReviewLine("u", "a", 2) + ReviewLine("u\tv", "a", 2) + ReviewLine("u", "a", 3) +
          "[1, \"a\"]\n" + ReviewLine("u", "a", 4) + ReviewLine("u", "a", 5) + good.substr(0, 20),
      ItemLine("a", "A"));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->reviews.lines, 11);
  EXPECT_EQ(report->reviews.broken, 6);
  EXPECT_THAT(report->reviews.first_broken, ElementsAre(2, 4, 5, 7, 9));
  EXPECT_EQ(report->interactions, 5);
}

TEST_F(Amazon, TooManyBrokenLinesAreAnErrorThatNamesTheFirst) {
  options_.max_broken_share = .1;
  const auto report = Prepare(ReviewLine("u", "a", 1), ItemLine("a", "A") + "{'asin': 'b'}\n");
  ASSERT_EQ(ExitCodeOf(report.status()), kExitData);
  EXPECT_THAT(std::string(report.status().message()), HasSubstr("first in line 2"));
  EXPECT_FALSE(PathExists(options_.folder));
}

TEST_F(Amazon, TheCoreIsWhatRemainsWhenNothingFallsBelow) {
  options_.k_core = 2;
  // The path u3-c-u4-d unravels from its end, round after round.
  const auto report =
      Prepare(ReviewLine("u1", "a", 1) + ReviewLine("u1", "b", 2) + ReviewLine("u2", "a", 3) +
                  ReviewLine("u2", "b", 4) + ReviewLine("u3", "a", 5) + ReviewLine("u3", "c", 6) +
                  ReviewLine("u4", "c", 7) + ReviewLine("u4", "d", 8),
              ItemLine("a", "A") + ItemLine("b", "B") + ItemLine("c", "C") + ItemLine("d", "D"));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->users, 2);
  EXPECT_EQ(report->items, 2);
  EXPECT_EQ(report->interactions, 4);
  EXPECT_GT(report->filter_rounds, 2);
  EXPECT_EQ(Written(".inter").find("u3"), std::string::npos);
  EXPECT_EQ(Written(".item").find("c\tC"), std::string::npos);
}

TEST_F(Amazon, ThePapersFilterIsOnePassItemsFirst) {
  options_.min_item_interactions = 2;
  options_.min_user_interactions = 2;
  const auto report =
      Prepare(ReviewLine("u1", "a", 1) + ReviewLine("u1", "c", 2) + ReviewLine("u2", "a", 3) +
                  ReviewLine("u2", "b", 4) + ReviewLine("u3", "b", 5),
              ItemLine("a", "A") + ItemLine("b", "B") + ItemLine("c", "C"));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->users, 1);  // u2; its items are left with one interaction each
  EXPECT_EQ(report->interactions, 2);
}

TEST_F(Amazon, NothingLeftIsAnErrorAndLeavesNothing) {
  options_.min_item_interactions = 9;
  const auto report = Prepare(ReviewLine("u", "a", 1), ItemLine("a", "A"));
  EXPECT_EQ(ExitCodeOf(report.status()), kExitData);
  EXPECT_FALSE(PathExists(options_.folder));
}

TEST_F(Amazon, AStopLeavesNothingHalfWritten) {
  RequestStop();
  const auto report = Prepare(ReviewLine("u", "a", 1), ItemLine("a", "A"));
  ClearStopRequest();
  EXPECT_EQ(ExitCodeOf(report.status()), kExitStopped);
  EXPECT_TRUE(!PathExists(options_.folder) || std::filesystem::is_empty(options_.folder));
}

TEST_F(Amazon, RawFilesOfADataSetGiveTheDataSetBack) {
  SynthOptions synth;
  synth.users = 80;
  synth.items = 40;
  const std::string shop = folder_ + "/shop";
  ASSERT_TRUE(WriteSynthetic(synth, shop).ok());
  ASSERT_TRUE(WriteRawFiles(shop).ok());
  options_.reviews = shop + "/reviews.json.gz";
  options_.meta = shop + "/meta.json.gz";
  ASSERT_TRUE(PrepareAmazon(options_).ok());
  const auto before = LoadAll(shop), after = LoadAll(options_.folder);
  ASSERT_TRUE(before.ok() && after.ok()) << before.status() << after.status();
  ASSERT_EQ(after->users(), before->users());
  ASSERT_EQ(after->interactions(), before->interactions());
  for (int32_t user = 0; user < before->users(); ++user) {
    const auto other = after->FindUser(before->user_id(user));
    ASSERT_TRUE(other.has_value());
    const auto a = before->history(user), b = after->history(*other);
    ASSERT_EQ(a.size(), b.size());
    for (size_t k = 0; k < a.size(); ++k) {
      EXPECT_EQ(before->item_id(a[k]), after->item_id(b[k]));
      EXPECT_EQ(before->sentence(a[k]), after->sentence(b[k]));
    }
  }
}

TEST_F(Amazon, ImpossibleOptionsAreUsageErrors) {
  options_.k_core = -1;
  EXPECT_EQ(ExitCodeOf(PrepareAmazon(options_).status()), kExitUsage);
  options_.k_core = 0;
  options_.name = "a/b";
  EXPECT_EQ(ExitCodeOf(PrepareAmazon(options_).status()), kExitUsage);
}

}  // namespace
}  // namespace mixrec::data
