// Searches of which not every trial comes to a score.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/file.h"
#include "tests/ranks_fixture.h"

namespace mixrec {
namespace {

using ::testing::HasSubstr;

class SearchLimits : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { RanksWorld::SetUp(); }
  static void TearDownTestSuite() { RanksWorld::TearDown(); }
  static Outcome Search(const std::string& study, const std::string& more) {
    return Shell(RanksWorld::Program(
        StrCat("search --data=", RanksWorld::Data(), " --backbone=", RanksWorld::Backbone(),
               " --out=", RanksWorld::Path(study), " --bo_fraction=.3 --batch=8 --n_cl=1",
               " --device=cpu --threads=1 --log_level=error ", more)));
  }
  // The rows of trials.csv.
  static std::string Table(const std::string& study) {
    return ReadFile(RanksWorld::Path(study) + "/trials.csv").value_or("");
  }
};

// Parallel adapters of the lower layer cost more than serial ones, which scoring folds.
TEST_F(SearchLimits, NothingBeyondThemIsTried) {
  const std::string flags = "--trials=20 --trial_epochs=1 --bottleneck=64 --trial_tflop=";
  const Outcome plan = Search("limited", flags + "0 --dry_run");
  const double serial = std::stod(plan.out.substr(plan.out.find("\nwork: ") + 7));
  const Outcome none = Search("limited", StrCat(flags, serial / 2));
  EXPECT_EQ(none.code, 2);
  EXPECT_THAT(none.err, HasSubstr("no trial is within --trial_tflop="));
  const Outcome search = Search("limited", StrCat(flags, serial * 1.005));
  ASSERT_EQ(search.code, 0) << search.err;
  EXPECT_THAT(search.out, HasSubstr("every architecture has been tried"));
  EXPECT_EQ(CountOf(",complete,", Table("limited")), 8);
  EXPECT_EQ(CountOf(",000", Table("limited")), 8) << Table("limited");
}

TEST_F(SearchLimits, ASearchThatFailsSaysWhyInItsTable) {
  for (const char* more : {"", " --groups=2"}) {
    const std::string study = StrCat("failed", *more == 0 ? "" : "_groups");
    const Outcome outcome = Search(study, StrCat("--trials=6 --trial_epochs=4 --lr=1000", more));
    EXPECT_EQ(outcome.code, 1) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("see the reasons in trials.csv"));
    EXPECT_GE(CountOf(",failed,", Table(study)), 5) << Table(study);
    EXPECT_GE(CountOf(" not finite", Table(study)), 5) << Table(study);
  }
}

}  // namespace
}  // namespace mixrec
