// A search by real processes, a scheduler and worker groups, which are killed at random moments.
#include <csignal>
#include <thread>

#include "common/random.h"
#include "tests/search_groups_fixture.h"

namespace mixrec {
namespace {

// A scheduler and its groups, short of patience; whoever is killed starts again.
class Search {
 public:
  Search(std::string study, int groups, Words flags)
      : study_(std::move(study)), flags_(std::move(flags)) {
    EXPECT_TRUE(MakeFolder(study_).ok());
    StartScheduler();
    groups_.resize(static_cast<size_t>(groups));
    for (size_t index = 0; index < groups_.size(); ++index) StartGroup(index);
  }

  void StartScheduler() {
    scheduler_ = Start(With({"scheduler", "--study=" + study_, "--lease_seconds=3",
                             "--heartbeat_seconds=.5", "--threads=1", "--log_level=warning"},
                            With(TrialFlags(), flags_)),
                       study_ + "/scheduler.err");
  }
  // The first group trains two trials side by side.
  void StartGroup(size_t index) {
    groups_[index] =
        Start({"worker", "--study=" + study_, StrCat("--group=g", index), "--threads=1",
               "--device=cpu", "--log_level=warning", StrCat("--slots=", index == 0 ? 2 : 1)},
              StrCat(study_, "/g", index, ".err"));
  }
  void KillScheduler() {
    scheduler_->Signal(SIGKILL);
    EXPECT_TRUE(scheduler_->Wait(In(10)).has_value());
    StartScheduler();
  }
  void SignalGroup(size_t index, int signal) {
    groups_[index]->Signal(signal);
    const std::optional<int> code = groups_[index]->Wait(In(60));
    EXPECT_TRUE(signal == SIGKILL || code == 75 || code == 0) << code.value_or(-1);
    StartGroup(index);
  }
  // Whether the scheduler is done by then, with code 0.
  bool WaitForEnd(double seconds) { return scheduler_->Wait(In(seconds)) == 0; }
  std::vector<int> GroupCodes() {
    std::vector<int> codes;
    for (auto& group : groups_) codes.push_back(group->Wait(In(60)).value_or(-1));
    return codes;
  }
  bool IsOver() { return scheduler_->Wait(In(0)).has_value(); }
  std::string Errors() const {
    return ReadFile(study_ + "/scheduler.err").value_or("") +
           ReadFile(study_ + "/g0.err").value_or("");
  }

 private:
  const std::string study_;
  const Words flags_;
  std::unique_ptr<Process> scheduler_;
  std::vector<std::unique_ptr<Process>> groups_;
};

// How often somebody was killed, each time when some trials have ended: the last ones well before
// the end.
struct Kills {
  int groups = 0, schedulers = 0;
};
Kills KillAtRandom(const std::string& study, Search* search) {
  RandomStream draw(HashKey(static_cast<uint64_t>(Number("MIXREC_GROUPS_SEED", 1)), "kills"));
  const int trials = Number("MIXREC_GROUPS_TRIALS", 8), kills = Number("MIXREC_GROUPS_KILLS", 4);
  Kills killed;
  const Instant until = In(900);
  while (!search->IsOver() && std::chrono::steady_clock::now() < until) {
    const int finished = Finished(Record(study));
    if (killed.groups < kills && finished >= killed.groups * trials / (kills + 1)) {
      std::this_thread::sleep_for(
          std::chrono::milliseconds(300 + static_cast<int>(draw.Next() % 900)));
      search->SignalGroup(draw.Next() % 4, killed.groups % 3 == 2 ? SIGTERM : SIGKILL);
      ++killed.groups;
    }
    if (killed.schedulers < 2 && finished >= (killed.schedulers + 1) * trials / 3) {
      search->KillScheduler();
      ++killed.schedulers;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return killed;
}

// A search by four groups that are killed, to its end; prints what it took.
StudyRecord SearchUnderKills(const std::string& study, const Words& flags) {
  const Instant start = std::chrono::steady_clock::now();
  Search search(study, 4, flags);
  const Kills killed = KillAtRandom(study, &search);
  EXPECT_TRUE(search.WaitForEnd(60)) << search.Errors();
  EXPECT_EQ(search.GroupCodes(), (std::vector<int>(4, 0)));
  EXPECT_EQ(killed.schedulers, 2);
  StudyRecord record = Record(study);
  std::cout << record.trials.size() << " trials in " << Attempts(record) << " attempts; "
            << killed.groups << " groups and " << killed.schedulers << " schedulers were killed; "
            << std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()
            << " s\n";
  for (const char* file : {"best.flags", "report.html", "trials.csv"}) {
    EXPECT_TRUE(PathExists(study + "/" + file)) << file;
  }
  EXPECT_FALSE(PathExists(study + "/scheduler.json"));  // nobody is there
  EXPECT_EQ(Ends(study), static_cast<int>(record.trials.size()));
  EXPECT_EQ(RunMixrec({"status", "--study=" + study, "--replay"}), 0);
  return record;
}

// Every trial has one result, and that of a search that nobody disturbed: its point depends on seed
// and number alone, its score on nothing else.
TEST_F(SearchGroups, KilledAtRandomTheyFindWhatAnUndisturbedSearchFinds) {
  const std::string plain = Scratch() + "/plain";
  const Words random{"--method=random"};
  ASSERT_EQ(RunMixrec(With({"search", "--out=" + plain, "--threads=1", "--log_level=error"},
                           With(TrialFlags(), random))),
            0);
  const StudyRecord expected = Record(plain);
  const StudyRecord study = SearchUnderKills(Scratch() + "/killed", random);
  ASSERT_EQ(study.trials.size(), expected.trials.size());
  for (size_t i = 0; i < expected.trials.size(); ++i) {
    const TrialRecord &trial = study.trials[i], &other = expected.trials[i];
    EXPECT_EQ(trial.state, TrialState::kComplete) << i << ": " << trial.Text("reason");
    EXPECT_EQ(trial.Text("architecture"), other.Text("architecture")) << i;
    EXPECT_EQ(trial.value, other.value) << i;  // bit for bit
    EXPECT_EQ(trial.intermediate_values, other.intermediate_values) << i;
  }
}

// With the Gaussian process the points depend on the order of the results; the numbers and the
// promises do not, and what was suggested is what the journal makes the search suggest.
TEST_F(SearchGroups, KilledAtRandomEveryTrialOfASearchEndsOnce) {
  const StudyRecord study = SearchUnderKills(Scratch() + "/killed_auto", {});
  ASSERT_EQ(study.trials.size(), static_cast<size_t>(Number("MIXREC_GROUPS_TRIALS", 8)));
  for (const TrialRecord& trial : study.trials) {
    EXPECT_EQ(trial.state, TrialState::kComplete) << trial.number << ": " << trial.Text("reason");
  }
}

TEST_F(SearchGroups, TrialsKeepTheirTablesOnTheSearchsOwnShards) {
  const std::string study = Scratch() + "/shards";
  const Words command = With({"search", "--groups=2", "--shards=2", "--out=" + study, "--threads=2",
                              "--log_level=warning"},
                             TrialFlags());
  ASSERT_EQ(RunMixrec(command), 0) << ReadFile(Scratch() + "/errors").value_or("");
  const StudyRecord record = Record(study);
  EXPECT_EQ(record.trials.size(), static_cast<size_t>(Number("MIXREC_GROUPS_TRIALS", 8)));
  for (const TrialRecord& trial : record.trials) EXPECT_EQ(trial.state, TrialState::kComplete);
  EXPECT_THAT(ReadFile(study + "/shards").value_or(""), HasSubstr("ps: ready: 2 shards"));
  EXPECT_THAT(ReadFile(study + "/trials/trial-0/run.json").value_or(""),
              HasSubstr("\"ps\": \"127.0.0.1:"));
  EXPECT_THAT(ReadFile(study + "/best.flags").value_or(""), Not(HasSubstr("--ps=")));
}

TEST_F(SearchGroups, AStoppedSearchGoesOnWithTheSameCommand) {
  const std::string study = Scratch() + "/stopped";
  const Words command = With({"search", "--groups=2", "--out=" + study, "--threads=2",
                              "--log_level=warning", "--lease_seconds=3", "--heartbeat_seconds=.5"},
                             TrialFlags());
  const auto first = Start(command, Scratch() + "/first.err");
  const Instant until = In(120);
  while (Finished(Record(study)) < 2 && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  first->Signal(SIGTERM);
  EXPECT_EQ(first->Wait(In(60)), 75) << ReadFile(Scratch() + "/first.err").value_or("");
  const StudyRecord stopped = Record(study);
  EXPECT_EQ(scheduler::StatusOf(stopped)->phase, scheduler::StudyPhase::kStopped);
  ASSERT_EQ(Start(command, Scratch() + "/second.err")->Wait(In(300)), 0)
      << ReadFile(Scratch() + "/second.err").value_or("");
  const StudyRecord record = Record(study);
  EXPECT_EQ(record.trials.size(), static_cast<size_t>(Number("MIXREC_GROUPS_TRIALS", 8)));
  for (const TrialRecord& trial : stopped.trials) {
    if (!trial.finished()) continue;
    EXPECT_EQ(record.trials[static_cast<size_t>(trial.number)].value, trial.value);
  }
  for (const TrialRecord& trial : record.trials) EXPECT_EQ(trial.state, TrialState::kComplete);
}

TEST_F(SearchGroups, AGroupWithOtherDataIsSentAway) {
  const std::string study = Scratch() + "/other", data = Scratch() + "/other_data";
  ASSERT_EQ(RunMixrec({"synth", "--user_count=80", "--item_count=40", "--seed=2", "--out=" + data}),
            0);
  Search search(study, 0, {});
  EXPECT_EQ(RunMixrec({"worker", "--study=" + study, "--data=" + data, "--threads=1"}), 3);
  EXPECT_THAT(ReadFile(Scratch() + "/errors").value_or(""), HasSubstr("is not the study's"));
}

}  // namespace
}  // namespace mixrec
