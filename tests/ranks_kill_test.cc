// Runs by several ranks whose processes are killed, stopped and told to end: each fails as
// docs/distributed.md says, and goes on to the parameters of a run that nothing happened to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <thread>

#include "common/file.h"
#include "tests/ranks_fixture.h"

namespace mixrec {
namespace {

using ::testing::HasSubstr;

constexpr char kLocal[] = MIXREC_SOURCE_DIR "/launch/run_local.sh";

class RanksKilled : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    RanksWorld::SetUp();
    ::setenv("MIXREC_PROGRAM", MIXREC_PROGRAM, /*overwrite=*/1);
    ::setenv("MIXREC_RANKS", "2", /*overwrite=*/1);
  }
  static void TearDownTestSuite() { RanksWorld::TearDown(); }
  static std::string Run(const std::string& name) { return RanksWorld::Path(name); }

  // Two ranks of a training of some 20 steps, with checkpoints on the way.
  static std::string TrainingOf(const std::string& run, const std::string& more = "") {
    return RanksWorld::Train(run, StrCat("--epochs=3 --checkpoint_steps=2 --keep_last=1 ", more));
  }
  static std::string Ranks(const std::string& training, const std::string& servers = "") {
    return StrCat(RanksWorld::Mpirun(), servers, "-n 2 ", training);
  }
  // A job that somebody will disturb.
  static std::unique_ptr<Process> Start(const std::string& command, const std::string& run) {
    return std::make_unique<Process>(
        std::vector<std::string>{"/bin/bash", "-c", StrCat("exec ", command)}, run + ".err");
  }
  static std::string Errors(const std::string& run) { return ReadFile(run + ".err").value_or(""); }

  static std::vector<pid_t> RanksOf(const std::string& run) {
    return ProcessesWith({"train", "--out=" + run});
  }
  // Of the first server, which is the first rank of the job.
  static std::vector<pid_t> ShardsOf(const Process& job) {
    return ChildrenOf(RankAmong(ChildrenOf(job.pid()), 0));
  }
  static bool WaitUntilGone(const std::string& run, double seconds) {
    for (const Instant until = In(seconds); !RanksOf(run).empty();) {
      if (std::chrono::steady_clock::now() > until) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return true;
  }
  // The same command to its end: the parameters are those of `undisturbed`.
  static void ExpectGoesOn(const std::string& command, const std::string& run,
                           const std::string& undisturbed) {
    const Outcome outcome = Shell(command);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(Differences(run, undisturbed), "");
  }
};

TEST_F(RanksKilled, WithoutServers) {
  const std::string whole = Run("whole");
  const Outcome undisturbed = Shell(Ranks(TrainingOf(whole)));
  ASSERT_EQ(undisturbed.code, 0) << undisturbed.err;

  {
    SCOPED_TRACE("a rank is killed");
    const std::string run = Run("rank"), command = Ranks(TrainingOf(run));
    const auto job = Start(command, run);
    ASSERT_TRUE(WaitForStep(run, 5));
    const pid_t victim = RankAmong(RanksOf(run), 1);
    ASSERT_NE(victim, 0);
    ::kill(victim, SIGKILL);
    EXPECT_NE(job->Wait(In(30)).value_or(0), 0);
    EXPECT_TRUE(WaitUntilGone(run, 5));
    EXPECT_THAT(Errors(run), HasSubstr("mixrec train: rank 1 on "));
    EXPECT_THAT(Errors(run), HasSubstr(" has died"));
    ExpectGoesOn(command, run, whole);
  }
  {
    SCOPED_TRACE("the launcher is killed");
    const std::string run = Run("launcher"), command = Ranks(TrainingOf(run));
    const auto job = Start(command, run);
    ASSERT_TRUE(WaitForStep(run, 5));
    job->Signal(SIGKILL);
    EXPECT_TRUE(WaitUntilGone(run, 30));
    ExpectGoesOn(command, run, whole);
  }
  {
    SCOPED_TRACE("a bare mpirun is told to end");
    const std::string run = Run("terminated"), command = Ranks(TrainingOf(run));
    const auto job = Start(command, run);
    ASSERT_TRUE(WaitForStep(run, 5));
    job->Signal(SIGTERM);
    EXPECT_NE(job->Wait(In(30)).value_or(0), 0);
    EXPECT_TRUE(WaitUntilGone(run, 10));
    ExpectGoesOn(command, run, whole);
  }
}

TEST_F(RanksKilled, AStoppedRankIsNamedWithinTheDeadline) {
  const std::string run = Run("stuck");
  const auto job = Start(Ranks(TrainingOf(run, "--rank_deadline=2")), run);
  ASSERT_TRUE(WaitForStep(run, 3));
  const pid_t victim = RankAmong(RanksOf(run), 1);
  ASSERT_NE(victim, 0);
  ::kill(victim, SIGSTOP);
  EXPECT_NE(job->Wait(In(20)).value_or(0), 0);
  EXPECT_TRUE(WaitUntilGone(run, 5));
  EXPECT_THAT(Errors(run), HasSubstr("mixrec train: rank 1 on "));
  EXPECT_THAT(Errors(run), HasSubstr(" did not come to "));
}

TEST_F(RanksKilled, AScriptThatIsToldToEndEndsWithACheckpointAndCode75) {
  const std::string whole = Run("whole"), run = Run("script");
  ASSERT_EQ(Shell(Ranks(TrainingOf(whole))).code, 0);
  const std::string flags = TrainingOf(run).substr(std::string(MIXREC_PROGRAM).size());
  const std::string command = StrCat(kLocal, " ", flags);
  const auto job = Start(command, run);
  ASSERT_TRUE(WaitForStep(run, 3));
  job->Signal(SIGTERM);
  EXPECT_EQ(job->Wait(In(60)).value_or(-1), 75) << Errors(run);
  EXPECT_EQ(CountOf("mixrec train: stopped on request", Errors(run)), 1) << Errors(run);
  EXPECT_FALSE(LastCheckpoint(run).empty());
  ExpectGoesOn(command, run, whole);
}

// mpirun would wait for ever; the second rank alone is left to say how it ended.
TEST_F(RanksKilled, AScriptWhoseFirstRankIsKilledEnds) {
  const std::string run = Run("first"), training = TrainingOf(run, "--epochs=1000");
  const auto job =
      Start(StrCat(kLocal, " ", training.substr(std::string(MIXREC_PROGRAM).size())), run);
  ASSERT_TRUE(WaitForStep(run, 3));
  const std::vector<pid_t> ranks = RanksOf(run);
  ASSERT_EQ(ranks.size(), 2u);
  const pid_t first = RankAmong(ranks, 0);
  ASSERT_NE(first, 0);
  ASSERT_EQ(::kill(first, SIGKILL), 0);
  EXPECT_EQ(job->Wait(In(30)).value_or(-1), 1) << Errors(run);
  EXPECT_THAT(Errors(run), HasSubstr("mixrec train: rank 0 on "));
}

TEST_F(RanksKilled, WithServers) {
  const std::string servers =
      StrCat("-n 2 ", MIXREC_PROGRAM, " ps --log_level=error --threads=1 : ");
  const std::string whole = Run("whole_served");
  const Outcome undisturbed = Shell(Ranks(TrainingOf(whole), servers));
  ASSERT_EQ(undisturbed.code, 0) << undisturbed.err;
  {
    SCOPED_TRACE("a shard of the same mpirun is killed");
    const std::string run = Run("shard"), command = Ranks(TrainingOf(run), servers);
    const auto job = Start(command, run);
    ASSERT_TRUE(WaitForStep(run, 5));
    const std::vector<pid_t> shards = ShardsOf(*job);
    ASSERT_EQ(shards.size(), 1u);
    ::kill(shards[0], SIGKILL);
    EXPECT_NE(job->Wait(In(60)).value_or(0), 0);
    EXPECT_TRUE(WaitUntilGone(run, 5));
    EXPECT_THAT(Errors(run), HasSubstr("mixrec train: "));
    ExpectGoesOn(command, run, whole);
  }
  {
    SCOPED_TRACE("a request to stop reaches a shard alone, which serves on");
    const std::string run = Run("told");
    const auto job = Start(Ranks(TrainingOf(run), servers), run);
    ASSERT_TRUE(WaitForStep(run, 5));
    const std::vector<pid_t> shards = ShardsOf(*job);
    ASSERT_EQ(shards.size(), 1u);
    for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) ::kill(shards[0], signal);
    EXPECT_EQ(job->Wait(In(60)).value_or(-1), 0) << Errors(run);
    EXPECT_EQ(Differences(run, whole), "");
  }
  {
    SCOPED_TRACE("a shard outside, with a backup, is killed");
    Servers outside({"--shards=2", "--replicas=1", "--threads=1"}, RanksWorld::Path());
    outside.Start();
    ASSERT_TRUE(outside.WaitReady());
    const std::string run = Run("outside");
    const auto job = Start(Ranks(TrainingOf(run, StrCat("--ps=", outside.address()))), run);
    ASSERT_TRUE(WaitForStep(run, 5));
    ::kill(outside.PidOf(1, "primary"), SIGKILL);
    EXPECT_EQ(job->Wait(In(90)).value_or(-1), 0) << Errors(run);
    EXPECT_EQ(Differences(run, whole), "");
  }
}

}  // namespace
}  // namespace mixrec
