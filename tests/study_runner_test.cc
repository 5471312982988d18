#include "bo_driver/study_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "common/file.h"
#include "temporary_folder.h"

namespace mixrec::bo_driver {
namespace {

using ::testing::HasSubstr;

double Score(const std::string& bits) {
  double score = 0.02;
  for (size_t i = 0; i < bits.size(); ++i) score += bits[i] == '1' ? 0.01 / (1.0 + i) : 0;
  return score;
}

StudyOptions Options(int layers = 3, int trials = 12) {
  StudyOptions options;
  options.layers = layers;
  options.trials = trials;
  options.seed = 4;
  options.settings = {{"data", "abc"}, {"trial_epochs", "3"}};
  return options;
}

// Runs a study to its end; trial 5 fails. Returns the architectures in the order of evaluation.
std::vector<std::string> RunToTheEnd(const std::string& folder, const StudyOptions& options) {
  auto study = Study::OpenOrCreate(folder, options);
  EXPECT_TRUE(study.ok()) << study.status();
  std::vector<std::string> evaluated;
  while (true) {
    const auto trial = study->NextTrial();
    EXPECT_TRUE(trial.ok()) << trial.status();
    if (!trial.ok() || !trial->has_value()) break;
    evaluated.push_back((*trial)->bits);
    EXPECT_TRUE(study->ReportIntermediate((*trial)->number, 1, 0.01).ok());
    const absl::Status told = (*trial)->number == 5
                                  ? study->Fail(5, "out of memory")
                                  : study->Finish((*trial)->number, Score((*trial)->bits), 0.5);
    EXPECT_TRUE(told.ok()) << told;
  }
  return evaluated;
}

TEST(Study, TrialsAreTheTotalAndFailedOnesDoNotCount) {
  TemporaryFolder folder;
  EXPECT_EQ(RunToTheEnd(folder.path(), Options()).size(), 13u);
  EXPECT_TRUE(RunToTheEnd(folder.path(), Options()).empty());
  EXPECT_EQ(RunToTheEnd(folder.path(), Options(3, 14)).size(), 2u);  // two more
  const auto study = Study::OpenOrCreate(folder.path(), Options(3, 14));
  EXPECT_EQ(study->finished(), 14);
  EXPECT_EQ(study->failed(), 1);
  EXPECT_EQ(study->best()->value, Score(study->best()->bits));
  EXPECT_THAT(study->BestTable(3), HasSubstr(study->best()->bits));
}

// A kill leaves some prefix of the journal's bytes. Whichever it is, no finished trial is lost or
// repeated and the rest of the study is that of the undisturbed one.
TEST(Study, KilledAnywhereItGoesOnAsIfUndisturbed) {
  TemporaryFolder undisturbed;
  StudyOptions options = Options(2, 8);
  options.method = Method::kLocal;  // the quickest that has a surrogate
  const std::vector<std::string> expected = RunToTheEnd(undisturbed.path(), options);
  ASSERT_EQ(expected.size(), 9u);
  const std::string journal = ReadFile(undisturbed / "study.journal").value();

  // At a record's boundary, or 5 or 20 bytes before it, by turns.
  std::set<size_t> cuts = {0, 1};
  for (size_t end = journal.find('\n'); end != std::string::npos;
       end = journal.find('\n', end + 1)) {
    cuts.insert(end + 1 - (cuts.size() % 3) * (cuts.size() % 3) * 5);
  }
  for (size_t cut : cuts) {
    TemporaryFolder folder;
    ASSERT_TRUE(WriteFileAtomic(folder / "study.journal", journal.substr(0, cut)).ok());
    size_t finished = 0;
    {
      const auto before = scheduler::ReadJournal(folder / "study.journal");
      ASSERT_TRUE(before.ok()) << before.status();
      for (const auto& trial : before->trials) finished += trial.finished();
    }
    const std::vector<std::string> rest = RunToTheEnd(folder.path(), options);
    EXPECT_EQ(rest, std::vector<std::string>(expected.begin() + static_cast<long>(finished),
                                             expected.end()))
        << "cut after " << cut << " bytes";
    const auto after = scheduler::ReadJournal(folder / "study.journal");
    ASSERT_EQ(after->trials.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(after->trials[i].Text("architecture"), expected[i]);
      EXPECT_TRUE(after->trials[i].finished());
    }
  }
}

TEST(Study, EveryBytePrefixOfAJournalCanBeRead) {
  TemporaryFolder folder;
  RunToTheEnd(folder.path(), Options(1, 4));
  const std::string journal = ReadFile(folder / "study.journal").value();
  for (size_t cut = 0; cut <= journal.size(); ++cut) {
    const auto study = scheduler::ReplayJournal(journal.substr(0, cut), "cut");
    ASSERT_TRUE(study.ok()) << cut << ": " << study.status();
  }
}

TEST(Study, TrialLeftRunningIsGivenAgainUnderItsNumber) {
  TemporaryFolder folder;
  std::string bits;
  {
    auto study = Study::OpenOrCreate(folder.path(), Options());
    const auto trial = study->NextTrial();
    bits = (*trial)->bits;
    EXPECT_FALSE((*trial)->again);
  }
  auto study = Study::OpenOrCreate(folder.path(), Options());
  const auto trial = study->NextTrial();
  EXPECT_EQ((*trial)->number, 0);
  EXPECT_EQ((*trial)->bits, bits);
  EXPECT_TRUE((*trial)->again);
}

TEST(Study, OtherOptionsAreRefusedWithTheDifference) {
  TemporaryFolder folder;
  ASSERT_TRUE(Study::OpenOrCreate(folder.path(), Options()).ok());
  StudyOptions other = Options(4);
  other.settings["trial_epochs"] = "10";
  const auto study = Study::OpenOrCreate(folder.path(), other);
  EXPECT_EQ(ExitCodeOf(study.status()), kExitUsage);
  const std::string message(study.status().message());
  EXPECT_THAT(message, HasSubstr("layers: the study has 3, this command 4"));
  EXPECT_THAT(message, HasSubstr("trial_epochs: the study has 3, this command 10"));
  EXPECT_THAT(message, ::testing::Not(HasSubstr("seed")));
  EXPECT_TRUE(Study::OpenOrCreate(folder.path(), Options(3, 40)).ok());
}

TEST(Study, SpaceOfEightPointsIsExhaustedGracefully) {
  TemporaryFolder folder;
  const std::vector<std::string> evaluated = RunToTheEnd(folder.path(), Options(1, 30));
  EXPECT_EQ(std::set<std::string>(evaluated.begin(), evaluated.end()).size(), 8u);
  auto study = Study::OpenOrCreate(folder.path(), Options(1, 30));
  EXPECT_FALSE(study->NextTrial()->has_value());
  EXPECT_TRUE(study->exhausted());
}

TEST(Study, NotANumberIsAFailure) {
  TemporaryFolder folder;
  auto study = Study::OpenOrCreate(folder.path(), Options());
  ASSERT_TRUE(study->NextTrial().ok());
  ASSERT_TRUE(study->Finish(0, std::nan(""), 1).ok());
  EXPECT_EQ(study->failed(), 1);
  EXPECT_EQ(study->record().trials[0].state, scheduler::TrialState::kFailed);
}

TEST(Study, StopsWhenMostTrialsFail) {
  TemporaryFolder folder;
  auto study = Study::OpenOrCreate(folder.path(), Options());
  for (int number = 0; number < 5; ++number) {
    ASSERT_TRUE(study->NextTrial().ok());
    ASSERT_TRUE(study->Fail(number, "no such file").ok());
  }
  const auto trial = study->NextTrial();
  EXPECT_EQ(ExitCodeOf(trial.status()), kExitFailure);
  EXPECT_THAT(std::string(trial.status().message()), HasSubstr("most trials fail (5 of 5"));
}

TEST(Study, MalformedBaselineIsAUsageErrorBeforeAnythingIsWritten) {
  TemporaryFolder folder;
  StudyOptions options = Options();
  options.baselines = {"0101"};
  EXPECT_EQ(ExitCodeOf(Study::OpenOrCreate(folder / "s", options).status()), kExitUsage);
  EXPECT_FALSE(PathExists(folder / "s"));
}

}  // namespace
}  // namespace mixrec::bo_driver
