#include "bo_driver/early_stop.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace mixrec::bo_driver {
namespace {

using scheduler::StudyRecord;
using scheduler::TrialRecord;
using scheduler::TrialState;

void Add(const std::vector<double>& scores, TrialState state, StudyRecord* study) {
  TrialRecord trial;
  trial.number = static_cast<int>(study->trials.size());
  trial.state = state;
  for (size_t i = 0; i < scores.size(); ++i) {
    trial.intermediate_values[static_cast<int>(i) + 1] = scores[i];
  }
  if (trial.finished()) trial.value = *std::max_element(scores.begin(), scores.end());
  study->trials.push_back(trial);
}

std::optional<scheduler::EarlyStop> Ask(EarlyStopRule rule, const std::vector<double>& scores,
                                        StudyRecord study, int epochs = 9) {
  Add(scores, TrialState::kRunning, &study);
  return HopelessNow(rule, epochs, study, study.trials.back());
}

// Complete trials whose scores after two epochs are 1, 2, ... and after three 10 higher.
StudyRecord Complete(int count) {
  StudyRecord study;
  for (int i = 1; i <= count; ++i) {
    Add({0.5 * i, 1.0 * i, 10.0 + i}, TrialState::kComplete, &study);
  }
  return study;
}

TEST(EarlyStop, MedianComparesTheSameEpoch) {
  const auto stop = Ask(EarlyStopRule::kMedian, {0.5, 2.5}, Complete(5));
  ASSERT_TRUE(stop.has_value());  // the median after two epochs is 3, after three 13
  EXPECT_EQ(stop->rule, "median");
  EXPECT_EQ(stop->value, 2.5);
  EXPECT_FALSE(Ask(EarlyStopRule::kMedian, {0.5, 3}, Complete(5)).has_value());
}

TEST(EarlyStop, ATrialsScoreIsItsBestSoFar) {
  EXPECT_FALSE(Ask(EarlyStopRule::kMedian, {3.5, 0.5}, Complete(5)).has_value());
}

TEST(EarlyStop, MedianWaitsForFiveCompleteTrialsAndReadsOverTheOthers) {
  StudyRecord study = Complete(4);
  Add({9, 9}, TrialState::kRunning, &study);
  Add({9, 9}, TrialState::kPruned, &study);
  EXPECT_FALSE(Ask(EarlyStopRule::kMedian, {0, 0}, study).has_value());
  EXPECT_TRUE(Ask(EarlyStopRule::kMedian, {0, 0}, Complete(5)).has_value());
}

TEST(EarlyStop, TheLastEpochIsNeverStopped) {
  EXPECT_FALSE(Ask(EarlyStopRule::kMedian, {0, 0}, Complete(5), /*epochs=*/2).has_value());
}

TEST(EarlyStop, AshaKeepsTheBestThirdAtItsRungs) {
  StudyRecord study;
  for (int i = 1; i <= 5; ++i) Add({0.1 * i}, TrialState::kRunning, &study);
  EXPECT_FALSE(Ask(EarlyStopRule::kAsha, {0.45}, study).has_value());  // second of six
  const auto stop = Ask(EarlyStopRule::kAsha, {0.35}, study);          // third of six
  ASSERT_TRUE(stop.has_value());
  EXPECT_EQ(stop->rule, "asha");
  EXPECT_FALSE(Ask(EarlyStopRule::kAsha, {0, 0}, study).has_value());  // epoch 2 is no rung
}

TEST(EarlyStop, AshaWaitsForThreeTrials) {
  StudyRecord study;
  Add({1}, TrialState::kRunning, &study);
  EXPECT_FALSE(Ask(EarlyStopRule::kAsha, {0}, study).has_value());
  Add({1}, TrialState::kRunning, &study);
  EXPECT_TRUE(Ask(EarlyStopRule::kAsha, {0}, study).has_value());
}

TEST(EarlyStop, NoneNeverStops) {
  EXPECT_FALSE(Ask(EarlyStopRule::kNone, {0, 0}, Complete(9)).has_value());
}

TEST(EarlyStop, NamesAreReadBack) {
  for (const char* name : {"none", "median", "asha"}) {
    EXPECT_EQ(EarlyStopRuleName(ParseEarlyStopRule(name).value()), name);
  }
  EXPECT_EQ(ExitCodeOf(ParseEarlyStopRule("soon").status()), kExitUsage);
}

}  // namespace
}  // namespace mixrec::bo_driver
