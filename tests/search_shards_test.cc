// Searches whose trials keep their tables on servers that are killed, and what is left on those.
#include <signal.h>

#include "ps/session.h"
#include "tests/ranks_fixture.h"
#include "tests/search_groups_fixture.h"

namespace mixrec {
namespace {

using Json = nlohmann::json;

constexpr int kTrials = 3;

Words SearchOf(const std::string& study, const Words& more) {
  Words words = With({"search", "--out=" + study, "--threads=2", "--device=cpu", "--method=random",
                      "--log_level=warning", "--lease_seconds=3", "--heartbeat_seconds=.5"},
                     TrialFlags());
  return With(With(std::move(words), {StrCat("--trials=", kTrials)}), more);
}
std::string ErrorsOf(const std::string& study) { return ReadFile(study + ".err").value_or(""); }

// A trial is in the middle of its training.
bool WaitForTraining(const std::string& study, int trial) {
  return WaitForStep(StrCat(study, "/trials/trial-", trial), 3);
}

// Of a search's own shards, as they last said it.
pid_t PidOfShard(const std::string& study, size_t shard) {
  std::istringstream lines(ReadFile(study + "/shards").value_or(""));
  pid_t pid = 0;
  for (std::string line; std::getline(lines, line);) {
    const Json event = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (event.is_object()) pid = event.at("shards").at(shard).at("primary").value("pid", 0);
  }
  return pid;
}

// The namespaces that servers hold, but for that of who asks.
std::vector<std::string> SpacesOn(const std::string& servers) {
  ps::SessionOptions options;
  options.servers = {servers};
  options.space = "who_asks";
  const auto session = ps::Session::Open(options);
  if (!session.ok()) return {StrCat("no session: ", session.status().message())};
  std::vector<std::string> spaces;
  for (const Json& shard : Json::parse((*session)->Stats().value_or("[]"))) {
    for (const Json& space : shard.at("namespaces")) {
      if (space.at("name") != options.space) spaces.push_back(space.at("name"));
    }
  }
  EXPECT_EQ((*session)->Drop(), absl::OkStatus());
  return spaces;
}

class SearchShards : public SearchGroups {
 protected:
  static void SetUpTestSuite() {
    SearchGroups::SetUpTestSuite();
    const std::string study = Scratch() + "/plain";
    ASSERT_EQ(RunMixrec(SearchOf(study, {})), 0);
    plain_ = new StudyRecord(Record(study));
    ASSERT_EQ(plain_->trials.size(), static_cast<size_t>(kTrials));
  }
  static void TearDownTestSuite() {
    delete plain_;
    SearchGroups::TearDownTestSuite();
  }
  // The results are those of a search without servers, each there once.
  static void ExpectWhole(const std::string& study) {
    const StudyRecord record = Record(study);
    ASSERT_EQ(record.trials.size(), plain_->trials.size());
    for (size_t i = 0; i < record.trials.size(); ++i) {
      const TrialRecord &trial = record.trials[i], &other = plain_->trials[i];
      EXPECT_EQ(trial.state, TrialState::kComplete) << i << ": " << trial.Text("reason");
      EXPECT_EQ(trial.Text("architecture"), other.Text("architecture")) << i;
      EXPECT_NEAR(trial.value.value_or(-1), other.value.value_or(1), 1e-5) << i;
    }
    EXPECT_EQ(Ends(study), kTrials);
  }

 private:
  static inline StudyRecord* plain_ = nullptr;
};

TEST_F(SearchShards, AShardThatDiesCostsNoTrial) {
  const std::string study = Scratch() + "/shard";
  const auto search = Start(SearchOf(study, {"--shards=2", "--group_ranks=2"}), study + ".err");
  ASSERT_TRUE(WaitForTraining(study, 1));
  const pid_t shard = PidOfShard(study, 1);
  ASSERT_NE(shard, 0);
  ASSERT_EQ(::kill(shard, SIGKILL), 0);
  EXPECT_EQ(search->Wait(In(120)), 0) << ErrorsOf(study);
  EXPECT_GT(Attempts(Record(study)), kTrials);
  ExpectWhole(study);
}

TEST_F(SearchShards, WithoutItsServersASearchEndsWithALineAndGoesOnWithTheSameCommand) {
  const std::string study = Scratch() + "/servers";
  const Words command = SearchOf(study, {"--shards=2"});
  const auto search = Start(command, study + ".err");
  ASSERT_TRUE(WaitForTraining(study, 1));
  for (const pid_t child : ChildrenOf(search->pid())) {
    const std::string line = ReadFile(StrCat("/proc/", child, "/cmdline")).value_or("");
    if (line.find("--shards=2") != std::string::npos) ::kill(child, SIGKILL);
  }
  EXPECT_EQ(search->Wait(In(60)), 1);
  EXPECT_EQ(CountOf("mixrec search: the search's shards have ended (mixrec ps was killed by signal "
                    "9 (Killed); see ",
                    ErrorsOf(study)),
            1);
  EXPECT_EQ(Start(command, study + ".err")->Wait(In(120)), 0) << ErrorsOf(study);
  ExpectWhole(study);
}

TEST_F(SearchShards, NothingOfATrialIsLeftOnServersOnceItHasEnded) {
  Servers servers({"--shards=2", "--log_level=error"}, Scratch());
  ASSERT_TRUE(servers.WaitReady());
  const std::string study = Scratch() + "/spaces";
  const Words command = SearchOf(
      study, {"--groups=2", "--ps=" + servers.address(), "--trials=2", "--trial_epochs=10"});
  const auto search = Start(command, study + ".err");
  ASSERT_TRUE(WaitForTraining(study, 0));
  EXPECT_THAT(SpacesOn(servers.address()), ::testing::Contains(::testing::EndsWith("/0/1")));
  search->Signal(SIGTERM);
  EXPECT_EQ(search->Wait(In(60)), 75) << ErrorsOf(study);
  EXPECT_THAT(SpacesOn(servers.address()), ::testing::IsEmpty());

  EXPECT_EQ(Start(command, study + ".err")->Wait(In(120)), 0) << ErrorsOf(study);
  EXPECT_THAT(SpacesOn(servers.address()), ::testing::IsEmpty());
  EXPECT_EQ(Ends(study), 2);
}

}  // namespace
}  // namespace mixrec
