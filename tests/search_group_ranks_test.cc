// Searches whose groups are several ranks of a real mpirun.
#include <signal.h>

#include <thread>

#include "tests/ranks_fixture.h"
#include "tests/search_groups_fixture.h"

namespace mixrec {
namespace {

// A search with random points, whose trials two groups train.
Words RandomSearch(const std::string& study, const Words& more) {
  return With(With({"search", "--groups=2", "--out=" + study, "--threads=2", "--device=cpu",
                    "--method=random", "--log_level=warning", "--lease_seconds=3",
                    "--heartbeat_seconds=.5"},
                   TrialFlags()),
              more);
}

// To rounding: ranks add up in another order.
void ExpectSameTrials(const StudyRecord& study, const StudyRecord& expected) {
  ASSERT_EQ(expected.trials.size(), static_cast<size_t>(Number("MIXREC_GROUPS_TRIALS", 8)));
  ASSERT_EQ(study.trials.size(), expected.trials.size());
  for (size_t i = 0; i < expected.trials.size(); ++i) {
    const TrialRecord &trial = study.trials[i], &other = expected.trials[i];
    EXPECT_EQ(trial.state, TrialState::kComplete) << i << ": " << trial.Text("reason");
    EXPECT_EQ(trial.Text("architecture"), other.Text("architecture")) << i;
    EXPECT_NEAR(trial.value.value_or(-1), other.value.value_or(1), 1e-5) << i;
    EXPECT_EQ(trial.intermediate_values.size(), other.intermediate_values.size()) << i;
  }
}

// As the search tells its groups.
std::string StudyWord(const std::string& study) {
  return "--study=" + std::filesystem::path(study).lexically_normal().string();
}

// The process of that rank in a group of a study; 0: there is none.
pid_t RankOf(const std::string& study, const std::string& group, int rank) {
  const std::string number = StrCat("OMPI_COMM_WORLD_RANK=", rank);
  for (const pid_t process : ProcessesWith({StudyWord(study), "--group=" + group})) {
    const std::string variables = ReadFile(StrCat("/proc/", process, "/environ")).value_or("");
    if (variables.find(number + '\0') != std::string::npos) return process;
  }
  return 0;
}

// Kills that rank once so many trials have ended.
void KillRank(const std::string& study, int finished, int rank) {
  pid_t process = 0;
  for (const Instant until = In(120); process == 0 && std::chrono::steady_clock::now() < until;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (Finished(Record(study)) >= finished) process = RankOf(study, "g1", rank);
  }
  ASSERT_NE(process, 0) << "g1 has no rank " << rank;
  ASSERT_EQ(::kill(process, SIGKILL), 0);
  EXPECT_TRUE(WaitForEndOf(process, In(30)));
}

// Two ranks a group train what one would, also when they are killed.
TEST_F(SearchGroups, SeveralRanksTrainTheTrialsOfOne) {
  const std::string one = Scratch() + "/one_rank", two = Scratch() + "/two_ranks";
  ASSERT_EQ(RunMixrec(RandomSearch(one, {})), 0) << ReadFile(Scratch() + "/errors").value_or("");
  ASSERT_EQ(RunMixrec(RandomSearch(two, {"--group_ranks=2"})), 0)
      << ReadFile(Scratch() + "/errors").value_or("");
  ExpectSameTrials(Record(two), Record(one));
  EXPECT_TRUE(ProcessesWith({StudyWord(two)}).empty());

  for (const int rank : {1, 0}) {
    const std::string killed = StrCat(Scratch(), "/killed_rank", rank);
    const auto search = Start(RandomSearch(killed, {"--group_ranks=2"}), killed + ".err");
    KillRank(killed, 1, rank);
    EXPECT_EQ(search->Wait(In(300)), 0) << ReadFile(killed + ".err").value_or("");
    ExpectSameTrials(Record(killed), Record(one));
  }
}

TEST_F(SearchGroups, SeveralRanksTrainOneTrialAtATime) {
  const Words both{"--group_ranks=2", "--per_gpu=2"};
  EXPECT_EQ(RunMixrec(RandomSearch(Scratch() + "/both", both)), 2);
  EXPECT_THAT(ReadFile(Scratch() + "/errors").value_or(""),
              HasSubstr("--per_gpu=2 with --group_ranks=2: a group of several ranks trains one"));
}

}  // namespace
}  // namespace mixrec
