#include "launch/search_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "common/log.h"
#include "common/stop_signal.h"
#include "scheduler/lease.h"

namespace mixrec::launch {
namespace {

using ::testing::HasSubstr;

bo_driver::Study OpenStudy(const std::string& name, int trials) {
  bo_driver::StudyOptions options;
  options.layers = 2;
  options.trials = trials;
  return bo_driver::Study::OpenOrCreate(::testing::TempDir() + "/search_loop_test/" + name, options)
      .value();
}

class SearchLoop : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(::testing::TempDir() + "/search_loop_test");
    ClearStopRequest();
  }
  void TearDown() override { ClearStopRequest(); }
  std::ostringstream out_;
};

TEST_F(SearchLoop, RunsTheBudgetOnDistinctArchitectures) {
  bo_driver::Study study = OpenStudy("budget", 5);
  std::vector<std::string> tried;
  const Objective objective = [&](const bo_driver::Trial& trial) {
    tried.push_back(trial.bits);
    return absl::StatusOr<double>(0.1 * static_cast<double>(tried.size()));
  };
  EXPECT_EQ(RunTrials(&study, objective, out_), absl::OkStatus());
  EXPECT_EQ(study.finished(), 5);
  std::sort(tried.begin(), tried.end());
  EXPECT_EQ(std::unique(tried.begin(), tried.end()) - tried.begin(), 5);
  EXPECT_THAT(out_.str(), HasSubstr("trial 4: 0.500000"));
}

TEST_F(SearchLoop, ATrialThatTheStudyGivesUpIsNotFinishedTwice) {
  bo_driver::StudyOptions options;
  options.layers = 2;
  options.trials = 6;
  options.epochs = 2;
  options.early_stop = bo_driver::EarlyStopRule::kMedian;
  const std::string folder = ::testing::TempDir() + "/search_loop_test/early";
  bo_driver::Study study = bo_driver::Study::OpenOrCreate(folder, options).value();
  const Objective objective = [&](const bo_driver::Trial& trial) -> absl::StatusOr<double> {
    const double value = trial.number < 5 ? 0.5 : 0.25;  // the sixth is hopeless
    EXPECT_EQ(study.ReportIntermediate(trial.number, 1, value).value(), trial.number < 5);
    return value;
  };
  EXPECT_EQ(RunTrials(&study, objective, out_), absl::OkStatus());
  EXPECT_EQ(study.record().trials.at(5).state, scheduler::TrialState::kPruned);
  EXPECT_EQ(study.finished(), 6);
  EXPECT_THAT(out_.str(), HasSubstr("trial 5: 0.250000"));
  EXPECT_THAT(out_.str(), HasSubstr(", stopped early"));
}

TEST_F(SearchLoop, AFailedTrialDoesNotEndTheSearch) {
  bo_driver::Study study = OpenStudy("failure", 4);
  const Objective objective = [](const bo_driver::Trial& trial) -> absl::StatusOr<double> {
    LOG(INFO) << "looking at trial " << trial.number;
    if (trial.number == 1) return FailureError("loss is not a number");
    return 0.5;
  };
  EXPECT_EQ(RunTrials(&study, objective, out_), absl::OkStatus());
  const scheduler::TrialRecord& failed = study.record().trials.at(1);
  EXPECT_EQ(failed.Text(scheduler::kReasonAttribute), "loss is not a number");
  EXPECT_THAT(failed.Text(scheduler::kLogAttribute), HasSubstr("looking at trial 1"));
  EXPECT_EQ(study.finished(), 4);
  EXPECT_EQ(study.failed(), 1);
  EXPECT_THAT(out_.str(), HasSubstr("trial 1 failed: loss is not a number"));
}

TEST_F(SearchLoop, AMistakeOfTheUserEndsTheSearch) {
  bo_driver::Study study = OpenStudy("mistake", 4);
  const Objective objective = [](const bo_driver::Trial&) -> absl::StatusOr<double> {
    return DataError("the data are gone");
  };
  EXPECT_EQ(ExitCodeOf(RunTrials(&study, objective, out_)), kExitData);
}

TEST_F(SearchLoop, AStoppedTrialIsGivenOutAgain) {
  std::string interrupted;
  {
    bo_driver::Study study = OpenStudy("stop", 3);
    const Objective objective = [&](const bo_driver::Trial& trial) -> absl::StatusOr<double> {
      if (trial.number == 0) return 0.5;
      interrupted = trial.bits;
      RequestStop();
      return StoppedError("at step 3");
    };
    EXPECT_EQ(ExitCodeOf(RunTrials(&study, objective, out_)), kExitStopped);
  }
  ClearStopRequest();
  bo_driver::Study study = OpenStudy("stop", 3);
  std::vector<std::string> tried;
  const Objective objective = [&](const bo_driver::Trial& trial) -> absl::StatusOr<double> {
    if (tried.empty()) {
      EXPECT_TRUE(trial.again);
    }
    tried.push_back(trial.bits);
    return 0.25;
  };
  EXPECT_EQ(RunTrials(&study, objective, out_), absl::OkStatus());
  ASSERT_EQ(tried.size(), 2u);
  EXPECT_EQ(tried.front(), interrupted);
}

TEST_F(SearchLoop, AStopRequestBetweenTrialsStartsNoOther) {
  bo_driver::Study study = OpenStudy("between", 3);
  const Objective objective = [](const bo_driver::Trial&) -> absl::StatusOr<double> {
    RequestStop();
    return 0.5;
  };
  EXPECT_EQ(ExitCodeOf(RunTrials(&study, objective, out_)), kExitStopped);
  EXPECT_EQ(study.finished(), 1);
}

}  // namespace
}  // namespace mixrec::launch
