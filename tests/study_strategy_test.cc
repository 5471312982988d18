// What a study offers beyond one trial after another: pending trials, repetitions, constraints,
// searched numbers, an earlier study, replays.
#include "bo_driver/study_strategy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "bo_driver/report.h"
#include "bo_driver/study_results.h"
#include "bo_driver/study_runner.h"
#include "scheduler/lease.h"
#include "temporary_folder.h"

namespace mixrec::bo_driver {
namespace {

using scheduler::StudyRecord;
using scheduler::TrialRecord;
using scheduler::TrialState;
using ::testing::HasSubstr;

double Score(const std::string& bits) {
  double score = 0.02;
  for (size_t i = 0; i < bits.size(); ++i) score += bits[i] == '1' ? 0.01 / (1.0 + i) : 0;
  return score;
}

StudyOptions Options(int trials = 12) {
  StudyOptions options;
  options.layers = 3;
  options.trials = trials;
  options.seed = 4;
  options.method = Method::kLocal;
  return options;
}

// A study whose trials are all evaluated at once, its record at the end.
StudyRecord RunStudy(const std::string& folder, const StudyOptions& options) {
  auto study = Study::OpenOrCreate(folder, options);
  EXPECT_TRUE(study.ok()) << study.status();
  for (auto trial = study->NextTrial(); trial.ok() && *trial; trial = study->NextTrial()) {
    const double noise = (*trial)->work.replicate > 0 ? -0.05 : 0;
    EXPECT_TRUE(study->Finish((*trial)->number, Score((*trial)->bits) + noise, 0.5).ok());
  }
  return study->record();
}

// Four trials are out at any time, and come back in another order.
TEST(StudyStrategy, AJournalWithPendingTrialsReplaysToEverySuggestion) {
  TemporaryFolder folder;
  const std::string path = folder / "study.journal";
  auto journal = scheduler::Journal::Open(path);
  StudyOptions options = Options(24);
  options.groups = 4;
  {
    auto strategy = StudyStrategy::Open(options, &*journal).value();
    std::vector<int> out;
    for (int event = 0; strategy->HasMore(journal->study()) || !out.empty(); ++event) {
      if (out.size() < 4 && strategy->HasMore(journal->study())) {
        const auto proposal = strategy->Propose(journal->study()).value();
        out.push_back(journal->CreateTrial(proposal.parameters, proposal.attributes).value());
        continue;
      }
      const size_t which = static_cast<size_t>(event * 7) % out.size();
      const int number = out[which];
      out.erase(out.begin() + static_cast<std::ptrdiff_t>(which));
      const TrialRecord& trial = journal->study().trials[static_cast<size_t>(number)];
      const bool fails = number == 13;
      const auto value = fails ? std::nullopt : std::optional(Score(trial.Text(kBitsAttribute)));
      ASSERT_TRUE(
          journal
              ->FinishTrial(number, fails ? TrialState::kFailed : TrialState::kComplete, value, {})
              .ok());
      strategy->Told(trial);
    }
  }
  const StudyRecord study = scheduler::ReadJournal(path).value();
  ASSERT_EQ(study.trials.size(), 25u);
  EXPECT_EQ(CheckSuggestions(study).value(), "");
  // A journal in which one suggestion is another one's does not.
  StudyRecord changed = study;
  changed.trials[20].attributes[kBitsAttribute] = study.trials[3].Text(kBitsAttribute);
  EXPECT_THAT(CheckSuggestions(changed).value(), HasSubstr("trial 20 is "));
}

TEST(StudyStrategy, TheBestAreRepeatedAtTheEndAndTheMeanDecides) {
  TemporaryFolder folder;
  StudyOptions options = Options();
  options.replicate_top = 2;
  const StudyRecord study = RunStudy(folder.path(), options);
  ASSERT_EQ(study.trials.size(), 14u);
  const auto best = study.Ranked();
  std::set<int> repeated;
  for (int number : {12, 13}) {
    const TrialRecord& trial = study.trials[static_cast<size_t>(number)];
    EXPECT_EQ(trial.Text(kSourceAttribute), kReplicateSource);
    repeated.insert(static_cast<int>(trial.Number(kReplicateAttribute).value()));
  }
  EXPECT_EQ(repeated, (std::set<int>{best[0]->number, best[1]->number}));
  const std::vector<TrialResult> results = BestTrials(study, 3);
  EXPECT_EQ(results[0].evaluations, 2);
  EXPECT_DOUBLE_EQ(results[0].value, *best[0]->value - 0.025);
  EXPECT_EQ(results[2].evaluations, 1);
  EXPECT_GT(results[2].value, results[1].value);  // one lucky score does not win
}

TEST(StudyStrategy, WhatDoesNotFitIsNeverProposed) {
  TemporaryFolder folder;
  StudyOptions options = Options(40);
  options.feasible = [](const std::string& bits, const std::map<std::string, int64_t>&) {
    return bits[0] == bits[8];
  };
  for (const TrialRecord& trial : RunStudy(folder.path(), options).trials) {
    EXPECT_EQ(trial.Text(kBitsAttribute)[0], trial.Text(kBitsAttribute)[8]) << trial.number;
  }
}

// Of 2^24 points the 25 with one parallel bit at most: none is met at random.
TEST(StudyStrategy, TheFewThatFitInALargeSpaceAreAllTried) {
  TemporaryFolder folder;
  StudyOptions options = Options(40);
  options.layers = 8;
  options.feasible = [](const std::string& bits, const std::map<std::string, int64_t>&) {
    return std::count(bits.begin(), bits.end(), '1') <= 1;
  };
  const StudyRecord study = RunStudy(folder.path(), options);
  EXPECT_EQ(study.trials.size(), 25u);
  for (const TrialRecord& trial : study.trials) {
    const std::string bits = trial.Text(kBitsAttribute);
    EXPECT_LE(std::count(bits.begin(), bits.end(), '1'), 1) << trial.number;
  }
}

TEST(StudyStrategy, SearchedNumbersAreInTheJournalAndInTheWork) {
  TemporaryFolder folder;
  StudyOptions options = Options();
  options.layers = 6;
  options.dimensions =
      ParseDimensions("replace_every ordinal 2,3\nbottleneck log 16,64", "space").value();
  const StudyRecord study = RunStudy(folder.path(), options);
  EXPECT_EQ(TrialsCsv(study).rfind("number,state,value,seconds,source,acquisition,architecture,"
                                   "replace_every,bottleneck,started,completed,reason\n0,",
                                   0),
            0u);
  EXPECT_NE(TrialsCsv(study).find(",000000000,2,16,"), std::string::npos) << TrialsCsv(study);
  std::set<std::string> seen;
  for (const TrialRecord& trial : study.trials) {
    const double r = trial.Number(kReplaceEvery).value();
    EXPECT_EQ(trial.Text(kBitsAttribute).size(), r == 2 ? 9u : 6u);
    EXPECT_TRUE(
        seen.insert(trial.Text(kBitsAttribute) + StrCat(trial.Number(kBottleneck).value())).second)
        << trial.number;
  }
  EXPECT_EQ(CheckSuggestions(study).value(), "");
  const TrialWork work{"010", {{"bottleneck", 64}}, 1};
  const TrialWork again = ParseTrialWork(TrialWorkText(work)).value();
  EXPECT_EQ(again.architecture, "010");
  EXPECT_EQ(again.values, work.values);
  EXPECT_EQ(again.replicate, 1);
  EXPECT_EQ(ExitCodeOf(ParseTrialWork("{}").status()), kExitData);
}

TEST(StudyStrategy, ASpaceMayGrowAndNotShrink) {
  TemporaryFolder folder;
  StudyOptions options = Options(4);
  options.dimensions = ParseDimensions("bottleneck log 16,64", "space").value();
  RunStudy(folder.path(), options);
  options.dimensions = ParseDimensions("bottleneck log 16,32,64", "space").value();
  options.trials = 8;
  const StudyRecord study = RunStudy(folder.path(), options);
  EXPECT_EQ(study.trials.size(), 8u);
  options.dimensions = ParseDimensions("bottleneck log 16,64", "space").value();
  const auto shrunk = Study::OpenOrCreate(folder.path(), options);
  EXPECT_EQ(ExitCodeOf(shrunk.status()), kExitUsage);
  EXPECT_THAT(std::string(shrunk.status().message()), HasSubstr("space: the study has"));
}

TEST(StudyStrategy, AWarmStartTriesTheEarlierBestAfterTheBaselines) {
  TemporaryFolder earlier, folder;
  const StudyRecord before = RunStudy(earlier.path(), Options(20));
  StudyOptions options = Options();
  options.layers = 6;
  options.warm_start = earlier.path();
  const StudyRecord study = RunStudy(folder.path(), options);
  EXPECT_EQ(study.trials[2].Text(kSourceAttribute), "prior");
  // The very best is all parallel, which is a baseline.
  EXPECT_EQ(study.trials[2].Text(kBitsAttribute),
            MapLayers(before.Ranked()[1]->Text(kBitsAttribute), 3, 6));
  EXPECT_EQ(study.trials[5].Text(kSourceAttribute), "local");  // no random design is needed
  EXPECT_EQ(CheckSuggestions(study).value(), "");
  // It is in the journal: the earlier study may go.
  EXPECT_TRUE(study.attributes.count(kPriorAttribute));
}

TEST(StudyStrategy, AHopelessTrialEndsAsPrunedWithItsScoreSoFar) {
  TemporaryFolder folder;
  StudyOptions options = Options(8);
  options.early_stop = EarlyStopRule::kMedian;
  options.epochs = 3;
  auto study = Study::OpenOrCreate(folder.path(), options).value();
  for (int number = 0; number < 6; ++number) {
    ASSERT_TRUE(study.NextTrial().ok());
    const double score = number == 5 ? 0.01 : 0.1 * (number + 1);
    const auto goes_on = study.ReportIntermediate(number, 1, score);
    ASSERT_TRUE(goes_on.ok());
    EXPECT_EQ(*goes_on, number < 5);
    if (!*goes_on) break;
    ASSERT_TRUE(study.Finish(number, score, 1).ok());
  }
  const TrialRecord& pruned = study.record().trials[5];
  EXPECT_EQ(pruned.state, TrialState::kPruned);
  EXPECT_EQ(pruned.value, 0.01);
  EXPECT_EQ(study.finished(), 6);  // pruned ones count
  EXPECT_EQ(pruned.attributes.at(scheduler::kEarlyStopAttribute)["rule"], "median");
}

}  // namespace
}  // namespace mixrec::bo_driver
