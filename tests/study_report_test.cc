#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bo_driver/report.h"
#include "bo_driver/study_definition.h"
#include "bo_driver/study_results.h"
#include "bo_driver/study_runner.h"
#include "common/file.h"
#include "study_sample.h"
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
  EXPECT_THAT(html, Not(HasSubstr("src=")));
  EXPECT_THAT(html, Not(HasSubstr("http:")));
  EXPECT_THAT(html, Not(HasSubstr("https:")));
  EXPECT_THAT(html, Not(HasSubstr("@import")));
  EXPECT_THAT(html, HasSubstr("as the Gaussian process sees it"));
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

TEST(StudyReport, FiguresAreFilesThatStandAlone) {
  TemporaryFolder folder;
  RunSample(folder.path(), 12);
  ASSERT_TRUE(WriteStudyReport(folder.path()).ok());
  for (const char* name : {"history", "architectures", "effects", "interactions", "prediction",
                           "frequency", "curves", "timeline"}) {
    const std::string svg = ReadFile(StrCat(folder.path(), "/figures/", name, ".svg")).value();
    EXPECT_THAT(svg, HasSubstr("xmlns=\"http://www.w3.org/2000/svg\"")) << name;
    EXPECT_THAT(svg, HasSubstr("<style>")) << name;
    EXPECT_THAT(svg, Not(HasSubstr("nan"))) << name;
  }
}

TEST(StudyModel, FindsTheBitsThatMatterAndThePairThatDependsOnEachOther) {
  // 20 of bit 1 alone, 10 of bits 3 and 4 together; nothing else.
  StudyOptions options;
  options.layers = 2;
  options.trials = 40;
  options.method = Method::kRandom;
  TemporaryFolder folder;
  auto study = Study::OpenOrCreate(folder.path(), options);
  ASSERT_TRUE(study.ok()) << study.status();
  for (int i = 0; i < options.trials; ++i) {
    const auto trial = study->NextTrial();
    ASSERT_TRUE(trial.ok() && trial->has_value());
    const std::string& bits = (*trial)->bits;
    const double score = 20 * (bits[1] == '1') + 10 * (bits[3] == '1' && bits[4] == '1');
    ASSERT_TRUE(study->Finish((*trial)->number, score, 2).ok());
  }
  const StudyModel model = ModelOf(scheduler::ReadJournal(folder / "study.journal").value());
  ASSERT_TRUE(model.fitted());
  EXPECT_GT(model.summary.leave_one_out_r2, 0.8);
  ASSERT_EQ(model.effects.size(), 6u);
  EXPECT_NEAR(model.effects[1].mean, 20, 2);
  EXPECT_NEAR(model.effects[3].mean, 5, 2);
  EXPECT_NEAR(model.effects[0].mean, 0, 1.5);
  ASSERT_FALSE(model.interactions.empty());
  EXPECT_EQ(model.interactions[0].first, 3);
  EXPECT_EQ(model.interactions[0].second, 4);
  EXPECT_NEAR(model.interactions[0].mean, 10, 3);
  EXPECT_EQ(model.left_out.size(), 40u);
}

// The sample after 31 trials: two failed, one group lost, one gone.
class SampleText : public ::testing::Test {
 protected:
  void SetUp() override {
    auto study = SampleStudy::Create(folder_ / "study.journal", "sample");
    ASSERT_TRUE(study.ok()) << study.status();
    study_ = *std::move(study);
    ASSERT_TRUE(study_->RunUntil(31).ok());
    view_ = scheduler::ViewOf(study_->study());
  }
  TemporaryFolder folder_;
  std::unique_ptr<SampleStudy> study_;
  scheduler::StudyView view_;
};

TEST_F(SampleText, StatusSaysHowFarWhoWhatAndWhatWentWrong) {
  const std::string text = StudyText(view_, study_->now());
  EXPECT_THAT(text, HasSubstr("sample: running, 29 of 48 trials finished, about 1"));
  EXPECT_THAT(text, HasSubstr("26 complete, 3 stopped early, 2 failed, 3 running, 0 waiting"));
  EXPECT_THAT(text, HasSubstr(StrCat(" in trial ", WinnerOf(view_.study)->number, "\n")));
  EXPECT_THAT(text, HasSubstr("groups: 3 alive of 5"));
  EXPECT_THAT(text, HasSubstr("node2-1  lost "));
  EXPECT_THAT(text, ::testing::ContainsRegex("node1-1  alive +[0-9]+ results  trial [0-9]+, epoch "
                                             "[0-9], score 0\\.[0-9]+, for [0-9]+ s"));
  EXPECT_THAT(text, HasSubstr("trial 20 failed: step 212: the loss is not a number"));
}

TEST_F(SampleText, JsonHasTheSameForPrograms) {
  const nlohmann::json json = StudyJson(view_, nullptr);
  const nlohmann::json counts = {{"wanted", 48}, {"finished", 29}, {"complete", 26}, {"pruned", 3},
                                 {"failed", 2},  {"running", 3},   {"waiting", 0}};
  EXPECT_EQ(json["counts"], counts);
  EXPECT_EQ(json["best"]["trial"], WinnerOf(view_.study)->number);
  EXPECT_EQ(json["best"]["value"], *WinnerOf(view_.study)->value);
  EXPECT_GT(json["seconds_left"], 60);
  ASSERT_EQ(json["groups"].size(), 5u);
  EXPECT_EQ(json["groups"][3]["state"], "lost");
  EXPECT_EQ(json["groups"][0]["trials"].size(), 1u);
  const nlohmann::json& failed = json["trials"][20];
  EXPECT_EQ(failed["state"], "failed");
  EXPECT_TRUE(failed["value"].is_null());
  EXPECT_THAT(failed["reason"], HasSubstr("not a number"));
  EXPECT_EQ(json["trials"][0]["scores"].size(), 4u);
}

TEST(StudyReport, CsvHasOneLineATrialAndQuotesReasons) {
  TemporaryFolder folder;
  RunSample(folder.path(), 6);
  const std::string csv = TrialsCsv(scheduler::ReadJournal(folder / "study.journal").value());
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 7);
  EXPECT_THAT(csv, HasSubstr("3,failed,,,"));
  EXPECT_THAT(csv, HasSubstr("\"bad, \"\"very\"\" <bad>\""));
}

// A single high score may be luck: best.flags has the best mean, and so has whoever shows the best.
TEST(StudyReport, TheBestOfRepeatedTrialsIsTheBestMeanWhereverItIsShown) {
  scheduler::StudyRecord study;
  study.name = "repeated";
  study.created = true;
  const auto add = [&](const char* bits, double value, int repeats) {
    scheduler::TrialRecord trial;
    trial.number = static_cast<int>(study.trials.size());
    trial.state = scheduler::TrialState::kComplete;
    trial.value = value;
    trial.attributes = {{kBitsAttribute, bits}, {kSourceAttribute, "random"}};
    if (repeats >= 0) trial.attributes[kReplicateAttribute] = repeats;
    study.trials.push_back(trial);
  };
  add("000000000", .5, -1);
  add("000111000", .9, -1);
  add("111000111", .8, -1);
  add("000111000", .1, 1);
  add("111000111", .75, 2);
  ASSERT_NE(WinnerOf(study), nullptr);
  EXPECT_EQ(WinnerOf(study)->number, 2);
  const scheduler::StudyView view = scheduler::ViewOf(study);
  EXPECT_EQ(StudyJson(view, nullptr)["best"]["trial"], 2);
  EXPECT_EQ(StudyJson(view, nullptr)["best"]["value"], .775);
  EXPECT_EQ(StudyJson(view, nullptr)["best"]["evaluations"], 2);
  EXPECT_THAT(StudyText(view, 0), HasSubstr("best: 0.775 in trial 2, mean of 2\n"));
  EXPECT_THAT(PageTitle(view), HasSubstr("0.775"));
}

}  // namespace
}  // namespace mixrec::bo_driver
