#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bo_driver/report.h"
#include "bo_driver/study_runner.h"
#include "common/file.h"
#include "temporary_folder.h"

namespace mixrec::bo_driver {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

void RunSample(const std::string& folder, int trials) {
  StudyOptions options;
  options.name = "a<b>&\"c\"";
  options.layers = 2;
  options.trials = trials;
  auto study = Study::OpenOrCreate(folder, options);
  ASSERT_TRUE(study.ok()) << study.status();
  for (int i = 0; i < trials; ++i) {
    const auto trial = study->NextTrial();
    ASSERT_TRUE(trial.ok() && trial->has_value());
    const int number = (*trial)->number;
    const double score = 0.01 * static_cast<double>((*trial)->bits[1] - '0') + 0.001 * number;
    ASSERT_TRUE(
        (number == 3 ? study->Fail(3, "bad, \"very\" <bad>") : study->Finish(number, score, 2))
            .ok());
  }
}

TEST(StudyReport, IsSelfContainedAndEscaped) {
  TemporaryFolder folder;
  RunSample(folder.path(), 12);
  ASSERT_TRUE(WriteStudyReport(folder.path()).ok());
  const std::string html = ReadFile(folder / "report.html").value();
  EXPECT_THAT(html, HasSubstr("a&lt;b&gt;&amp;&quot;c&quot;"));
  EXPECT_THAT(html, HasSubstr("bad, &quot;very&quot; &lt;bad&gt;"));
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, Not(HasSubstr("src=")));
  EXPECT_THAT(html, Not(HasSubstr("href=")));
  EXPECT_THAT(html, Not(HasSubstr("@import")));
  EXPECT_THAT(html, HasSubstr("posterior mean of the surrogate"));
  EXPECT_THAT(html, Not(HasSubstr("nan")));
}

TEST(StudyReport, EveryStageOfAStudyHasAReport) {
  for (int trials : {0, 1, 2, 5}) {
    TemporaryFolder folder;
    if (trials > 0) {
      RunSample(folder.path(), trials);
    } else {
      StudyOptions options;
      options.layers = 2;
      ASSERT_TRUE(Study::OpenOrCreate(folder.path(), options).ok());
    }
    ASSERT_TRUE(WriteStudyReport(folder.path()).ok());
    EXPECT_THAT(ReadFile(folder / "report.html").value(), HasSubstr("</html>"));
  }
}

TEST(StudyReport, CsvHasOneLineATrialAndQuotesReasons) {
  TemporaryFolder folder;
  RunSample(folder.path(), 6);
  const std::string csv = TrialsCsv(scheduler::ReadJournal(folder / "study.journal").value());
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 7);
  EXPECT_THAT(csv, HasSubstr("3,failed,,,"));
  EXPECT_THAT(csv, HasSubstr("\"bad, \"\"very\"\" <bad>\""));
}

}  // namespace
}  // namespace mixrec::bo_driver
