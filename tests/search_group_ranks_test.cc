// Searches whose groups are several ranks of a real mpirun: they find what groups of one process
// find, whatever happens to them.
#include <signal.h>

#include <thread>

#include "tests/ranks_fixture.h"
#include "tests/search_groups_fixture.h"

namespace mixrec {
namespace {

namespace fs = std::filesystem;

constexpr int kTrials = 3;

// A search with random points. Later flags overrule earlier ones.
Words SearchOf(const std::string& study, const Words& more) {
  return With(With({"search", "--out=" + study, "--threads=2", "--device=cpu", "--method=random",
                    "--log_level=warning", "--lease_seconds=3", "--heartbeat_seconds=.5"},
                   TrialFlags()),
              With({StrCat("--trials=", kTrials)}, more));
}
Words RanksOf(const std::string& study, const Words& more = {}) {
  return With(SearchOf(study, {"--group_ranks=2"}), more);
}
std::string Errors() { return ReadFile(Scratch() + "/errors").value_or(""); }

// Words that the command lines of the study's ranks and of their mpirun have.
Words PlaceOf(const std::string& study, const std::string& group) {
  return {"--study=" + fs::path(study).lexically_normal().string(), "--group=" + group};
}
// The process of that rank of a group; 0: there is none.
pid_t RankOf(const std::string& study, const std::string& group, int rank) {
  return RankAmong(ProcessesWith(PlaceOf(study, group)), rank);
}
// The GPUs that a group may use, once it is there.
std::string DevicesOf(const std::string& study, const std::string& group) {
  pid_t process = 0;
  for (const Instant until = In(60); process == 0 && std::chrono::steady_clock::now() < until;) {
    process = RankOf(study, group, 1);
  }
  const std::string variables = EnvironmentOf(process), name = "CUDA_VISIBLE_DEVICES=";
  const size_t at = variables.find(name);
  return at == std::string::npos ? "none" : variables.c_str() + at + name.size();
}

// A trial is in the middle of its training.
bool WaitForTraining(const std::string& study, int trial) {
  return WaitForStep(StrCat(study, "/trials/trial-", trial), 3);
}

// To rounding: ranks add up in another order.
void ExpectSameTrials(const StudyRecord& study, const StudyRecord& expected) {
  ASSERT_EQ(study.trials.size(), expected.trials.size());
  for (size_t i = 0; i < expected.trials.size(); ++i) {
    const TrialRecord &trial = study.trials[i], &other = expected.trials[i];
    EXPECT_EQ(trial.state, other.state) << i << ": " << trial.Text("reason");
    EXPECT_EQ(trial.Text("architecture"), other.Text("architecture")) << i;
    EXPECT_NEAR(trial.value.value_or(-1), other.value.value_or(1), 1e-5) << i;
    EXPECT_EQ(trial.intermediate_values.size(), other.intermediate_values.size()) << i;
  }
}

class GroupRanks : public SearchGroups {
 protected:
  static void SetUpTestSuite() {
    SearchGroups::SetUpTestSuite();
    plain_ = new StudyRecord(Searched(SearchOf(Scratch() + "/plain", {"--groups=2"})));
    for (const TrialRecord& trial : plain_->trials) {
      ASSERT_EQ(trial.state, TrialState::kComplete) << trial.Text("reason");
    }
    ASSERT_EQ(plain_->trials.size(), static_cast<size_t>(kTrials));
  }
  static void TearDownTestSuite() {
    delete plain_;
    SearchGroups::TearDownTestSuite();
  }
  // A search to its end.
  static StudyRecord Searched(const Words& command) {
    EXPECT_EQ(RunMixrec(command), 0) << Errors();
    return Record(command[1].substr(std::string("--out=").size()));
  }
  // What groups of one process find.
  static const StudyRecord& plain() { return *plain_; }

 private:
  static inline StudyRecord* plain_ = nullptr;
};

TEST_F(GroupRanks, TrainTheTrialsOfOneProcess) {
  const std::string study = Scratch() + "/ranks";
  const auto search = Start(RanksOf(study, {"--groups=2", "--devices=4,5,6,7"}), study + ".err");
  EXPECT_EQ(DevicesOf(study, "g1"), "4,5");
  EXPECT_EQ(DevicesOf(study, "g2"), "6,7");
  EXPECT_EQ(search->Wait(In(120)), 0) << ReadFile(study + ".err").value_or("");
  ExpectSameTrials(Record(study), plain());
  EXPECT_TRUE(ProcessesWith({PlaceOf(study, "")[0]}).empty());
  for (const auto& [name, group] : scheduler::GroupsOf(Record(study))) EXPECT_EQ(group.ranks, 2);
  std::string logs;
  for (const auto& file : fs::directory_iterator(study + "/groups/g1/logs")) {
    logs += ReadFile(file.path()).value_or("");
  }
  EXPECT_THAT(logs, HasSubstr("group g1, rank 1, trial "));
}

// Groups that come by themselves: one of three ranks on a "host" of search.sh, one of a process.
TEST_F(GroupRanks, OfAnyNumberJoinAScheduler) {
  const std::string study = Scratch() + "/joined";
  ::setenv("MIXREC_PROGRAM", MIXREC_PROGRAM, /*overwrite=*/1);
  ::setenv("MIXREC_RANKS", "3", /*overwrite=*/1);
  ::setenv("MIXREC_GROUP_FLAGS", "--threads=1 --device=cpu --log_level=warning", /*overwrite=*/1);
  const Words flags{StrCat("--trials=", kTrials), "--method=random", "--log_level=warning"};
  Process search(
      With({MIXREC_SOURCE_DIR "/launch/search.sh", "--study=" + study}, With(TrialFlags(), flags)),
      study + ".err");
  ASSERT_TRUE(WaitForTraining(study, 0));
  const auto other = Start({"worker", "--study=" + study, "--group=other", "--threads=1"},
                           Scratch() + "/other.err");
  EXPECT_EQ(search.Wait(In(60)), 0) << ReadFile(study + ".err").value_or("");
  EXPECT_EQ(other->Wait(In(60)), 0) << ReadFile(Scratch() + "/other.err").value_or("");
  ExpectSameTrials(Record(study), plain());
  EXPECT_EQ(scheduler::GroupsOf(Record(study)).at("g1").ranks, 3);
}

// With one group the search has no end unless the group starts again.
TEST_F(GroupRanks, AKilledOrStoppedRankEndsItsGroupWhichGoesOnWithTheTrial) {
  const std::string study = Scratch() + "/killed";
  const auto search = Start(RanksOf(study, {"--rank_deadline=2"}), study + ".err");
  int trial = 0;
  for (const auto& [rank, signal] : {std::pair(1, SIGSTOP), {1, SIGKILL}, {0, SIGKILL}}) {
    ASSERT_TRUE(WaitForTraining(study, trial++));
    const pid_t process = RankOf(study, "g1", rank);
    ASSERT_NE(process, 0);
    ASSERT_EQ(::kill(process, signal), 0);
  }
  EXPECT_EQ(search->Wait(In(120)), 0) << ReadFile(study + ".err").value_or("");
  ExpectSameTrials(Record(study), plain());
  EXPECT_EQ(Ends(study), kTrials);
  EXPECT_EQ(Attempts(Record(study)), kTrials + 3);
  EXPECT_THAT(ReadFile(study + ".err").value_or(""),
              HasSubstr("group g1: a process of mixrec worker was killed by signal 9 (Killed)"));
}

TEST_F(GroupRanks, ShareTablesOnServers) {
  const std::string own = Scratch() + "/own";
  ExpectSameTrials(Searched(RanksOf(own, {"--shards=2"})), plain());
  Servers servers({"--shards=1", "--log_level=error"}, Scratch());
  ASSERT_TRUE(servers.WaitReady());
  const std::string others = Scratch() + "/others";
  ExpectSameTrials(Searched(RanksOf(others, {"--groups=2", "--ps=" + servers.address()})), plain());
}

TEST_F(GroupRanks, EndATrialThatTheSchedulerGivesUp) {
  const Words median{"--early_stop=median", "--trials=6"};
  const StudyRecord one = Searched(SearchOf(Scratch() + "/median", median));
  const StudyRecord study = Searched(RanksOf(Scratch() + "/median_ranks", median));
  int pruned = 0;
  for (const TrialRecord& trial : study.trials) pruned += trial.state == TrialState::kPruned;
  EXPECT_GT(pruned, 0);
  ExpectSameTrials(study, one);
}

// A Ctrl-C in a terminal goes to the search's process group: not to mpirun, which would end at
// once.
TEST_F(GroupRanks, KilledOrStoppedTheSearchGoesOnWithTheSameCommand) {
  const std::string study = Scratch() + "/stopped";
  const Words lengthy{"--trials=2", "--trial_epochs=10"};
  const Words command = RanksOf(study, lengthy);
  auto search = Start(command, study + ".err");
  ASSERT_TRUE(WaitForTraining(study, 0));
  const std::vector<pid_t> orphans = ProcessesWith(PlaceOf(study, "g1"));
  EXPECT_EQ(orphans.size(), 2u);
  for (const pid_t process : orphans) EXPECT_NE(::getpgid(process), ::getpgid(search->pid()));
  search->Signal(SIGKILL);
  EXPECT_TRUE(search->Wait(In(10)).has_value());

  search = Start(command, study + ".err");
  ASSERT_TRUE(WaitForTraining(study, 1));
  search->Signal(SIGINT);
  EXPECT_EQ(search->Wait(In(60)), 75) << ReadFile(study + ".err").value_or("");
  EXPECT_TRUE(PathExists(study + "/trials/trial-1/checkpoints/last"));

  const StudyRecord resumed = Searched(command);
  EXPECT_EQ(Ends(study), 2);
  ExpectSameTrials(resumed, Searched(SearchOf(Scratch() + "/lengthy", lengthy)));
  for (const pid_t process : orphans) EXPECT_TRUE(WaitForEndOf(process, In(30)));
}

TEST_F(GroupRanks, TrainOneTrialAtATime) {
  EXPECT_EQ(RunMixrec(RanksOf(Scratch() + "/both", {"--per_gpu=2"})), 2);
  EXPECT_THAT(Errors(), HasSubstr("--per_gpu=2 with --group_ranks=2: a group of several ranks "));
}

TEST_F(GroupRanks, NeedAnMpirun) {
  Words words = With({"/usr/bin/env", "PATH=/nowhere", MIXREC_PROGRAM}, RanksOf("/nowhere"));
  Process search(words, Scratch() + "/errors");
  EXPECT_EQ(search.Wait(In(30)), 2);
  EXPECT_THAT(Errors(),
              HasSubstr("--group_ranks=2 starts processes by mpirun, which is not in PATH"));
}

}  // namespace
}  // namespace mixrec
