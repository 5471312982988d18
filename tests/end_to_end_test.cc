// The whole road through the program, each command a process of its own, on a minute data set:
// synth, pretrain, search, train, evaluate, recommend; stopping and going on; exit codes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "common/file.h"
#include "common/status.h"
#include "tests/ps_process_fixture.h"
#include "tests/shell.h"
#include "tests/training_records.h"

namespace mixrec {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

// A folder of this process: ctest runs the tests of this file beside each other.
std::string Scratch() { return StrCat(::testing::TempDir(), "/end_to_end_test.", ::getpid()); }

Outcome Mixrec(const std::string& arguments) {
  return RunInShell(StrCat(MIXREC_PROGRAM, " ", arguments), Scratch() + "/stderr");
}

// Sends SIGTERM as soon as a line of the output begins with `mark`; returns the exit code.
int TerminateAt(const std::string& mark, const std::string& arguments) {
  // The shell tells its process id, then becomes the program.
  const std::string command = StrCat("echo $$; exec ", MIXREC_PROGRAM, " ", arguments, " 2>&1");
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return -1;
  char line[4096];
  pid_t process = 0;
  while (std::fgets(line, sizeof(line), pipe) != nullptr) {
    if (process == 0) process = static_cast<pid_t>(std::stol(line));
    if (std::string(line).rfind(mark, 0) == 0) ::kill(process, SIGTERM);
  }
  const int status = ::pclose(pipe);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

Json LastLine(const std::string& text) {
  return Json::parse(Lines(text).back(), nullptr, /*allow_exceptions=*/false);
}

// Data and backbone that all tests share, made once.
class EndToEnd : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::filesystem::remove_all(Scratch());
    ASSERT_TRUE(MakeFolder(Scratch()).ok());
    const Outcome synth = Mixrec(StrCat("synth --user_count=60 --item_count=40 --out=", Data()));
    ASSERT_EQ(synth.code, 0) << synth.err;
    const Outcome pretrain = Mixrec(StrCat("pretrain --data=", Data(), " --out=", Backbone(),
                                           " --tokenizer=train:400 --hidden=32 --layers=2"
                                           " --epochs=1 --batch=4 --threads=1"));
    ASSERT_EQ(pretrain.code, 0) << pretrain.err;
  }

  static void TearDownTestSuite() { std::filesystem::remove_all(Scratch()); }

  static std::string Data() { return Scratch() + "/data"; }
  static std::string Backbone() { return Scratch() + "/backbone"; }
  static std::string Run(const std::string& name) { return Scratch() + "/" + name; }
  // The flags of every training here.
  static std::string Flags(const std::string& out) {
    return StrCat(" --data=", Data(), " --backbone=", Backbone(), " --out=", Run(out),
                  " --batch=8 --n_cl=1 --lr=1e-3 --bottleneck=4 --device=cpu --threads=1"
                  " --log_level=error");
  }
};

TEST_F(EndToEnd, SearchTrainEvaluateRecommend) {
  const Outcome search =
      Mixrec("search --trials=3 --trial_epochs=1 --bo_fraction=.5" + Flags("study"));
  ASSERT_EQ(search.code, 0) << search.err;
  EXPECT_TRUE(PathExists(Run("study/report.html")));
  EXPECT_TRUE(PathExists(Run("study/study.journal")));
  const Outcome again =
      Mixrec("search --trials=3 --trial_epochs=1 --bo_fraction=.5" + Flags("study"));
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_THAT(again.out, ::testing::Not(HasSubstr("trial 3")));  // nothing left to do

  const Outcome train = Mixrec(StrCat("train --flagfile=", Run("study/best.flags"),
                                      " --epochs=2 --out=", Run("run"), " --threads=1"));
  ASSERT_EQ(train.code, 0) << train.err;
  const Json record = Json::parse(ReadFile(Run("run/run.json")).value());
  EXPECT_EQ(record["state"], "finished");
  EXPECT_EQ(record["flags"]["architecture"].get<std::string>().size(), 6u);

  const std::string ranks = Run("ranks.tsv");
  const Outcome evaluate = Mixrec(StrCat("evaluate --run=", Run("run"), " --ranks_out=", ranks));
  ASSERT_EQ(evaluate.code, 0) << evaluate.err;
  const Json result = LastLine(evaluate.out);
  EXPECT_EQ(result["split"], "test");
  const size_t users = result["users"].get<size_t>();
  EXPECT_EQ(Lines(ReadFile(ranks).value()).size(), users);
  double reciprocal = 0;
  for (const std::string& line : Lines(ReadFile(ranks).value())) {
    reciprocal += 1.0 / std::stod(line.substr(line.find('\t') + 1));
  }
  EXPECT_NEAR(result["metrics"]["MRR"].get<double>(), reciprocal / double(users), 1e-9);
  for (const char* name : {"NDCG@5", "NDCG@10", "NDCG@20", "Recall@5", "Recall@10", "Recall@20"}) {
    EXPECT_TRUE(result["metrics"].contains(name)) << name;
  }
  EXPECT_EQ(result["protocol"]["seen_items"], "kept");
  EXPECT_EQ(result["protocol"]["min_item_interactions"], 4);

  const std::string user = ReadFile(ranks).value().substr(0, ReadFile(ranks).value().find('\t'));
  const Outcome recommend =
      Mixrec(StrCat("recommend --run=", Run("run"), " --users=", user, " --k=3"));
  ASSERT_EQ(recommend.code, 0) << recommend.err;
  const Json line = LastLine(recommend.out);
  EXPECT_EQ(line["user"], user);
  ASSERT_EQ(line["recommendations"].size(), 3u);
  EXPECT_GE(line["recommendations"][0]["score"], line["recommendations"][2]["score"]);

  const std::string item = line["recommendations"][0]["item"];
  ASSERT_TRUE(WriteFileAtomic(Run("history.txt"), "stranger\t" + item + "\n").ok());
  const Outcome stranger =
      Mixrec(StrCat("recommend --run=", Run("run"), " --history=", Run("history.txt")));
  ASSERT_EQ(stranger.code, 0) << stranger.err;
  EXPECT_EQ(LastLine(stranger.out)["user"], "stranger");

  // The exported model stands alone, wherever it is moved.
  const Outcome exported = Mixrec(StrCat("export --run=", Run("run"), " --out=", Run("exported")));
  ASSERT_EQ(exported.code, 0) << exported.err;
  std::filesystem::rename(Run("exported"), Run("moved"));
  std::filesystem::rename(Run("run"), Run("away"));
  const Outcome served =
      Mixrec(StrCat("recommend --run=", Run("moved"), " --history=", Run("history.txt")));
  ASSERT_EQ(served.code, 0) << served.err;
  EXPECT_EQ(served.out, stranger.out);
  EXPECT_EQ(ReadFile(Run("moved/item_embeddings.npy")).value().substr(1, 5), "NUMPY");
  EXPECT_EQ(Mixrec(StrCat("export --run=", Run("moved"), " --out=", Run("moved"))).code, 2);
}

TEST_F(EndToEnd, APreemptedTrainingGoesOnToTheSameWeights) {
  const Outcome whole = Mixrec("train --epochs=2" + Flags("whole"));
  ASSERT_EQ(whole.code, 0) << whole.err;
  const std::string command = "train --epochs=2" + Flags("parts");
  const Outcome stopped = Mixrec(command + " --simulate_preemption=3");
  ASSERT_EQ(stopped.code, 75) << stopped.err;
  EXPECT_EQ(Json::parse(ReadFile(Run("parts/run.json")).value())["state"], "stopped");
  const Outcome resumed = Mixrec(command);
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_THAT(resumed.out, HasSubstr("going on after step 3"));
  const auto metrics = [](const std::string& run) {
    return LastLine(
        Mixrec(StrCat("evaluate --threads=1 --checkpoint=last --run=", run)).out)["metrics"];
  };
  EXPECT_EQ(metrics(Run("whole")), metrics(Run("parts")));
}

TEST_F(EndToEnd, ATerminatedTrainingSavesAndGoesOn) {
  const std::string command = "train --epochs=20" + Flags("terminated");
  ASSERT_EQ(TerminateAt("train 1/", command), 75);
  EXPECT_EQ(Json::parse(ReadFile(Run("terminated/run.json")).value())["exit_code"], 75);
  const Outcome resumed = Mixrec(command);
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_THAT(resumed.out, HasSubstr("going on after step "));
}

TEST_F(EndToEnd, ASearchThatIsStoppedGoesOn) {
  const std::string command =
      "search --trials=2 --trial_epochs=2 --bo_fraction=.5" + Flags("halted");
  const Outcome stopped = Mixrec(command + " --simulate_preemption=2");
  ASSERT_EQ(stopped.code, 75) << stopped.err;
  const Outcome resumed = Mixrec(command);
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_THAT(resumed.out, HasSubstr("again"));
  EXPECT_TRUE(PathExists(Run("halted/best.flags")));
}

TEST_F(EndToEnd, ASearchTrainsSeveralTrialsInOneProcess) {
  const Outcome search = Mixrec("search --trials=4 --per_gpu=2 --trial_epochs=1 --bo_fraction=.3" +
                                Flags("side_by_side"));
  ASSERT_EQ(search.code, 0) << search.err;
  EXPECT_THAT(search.out, HasSubstr("2 trials at a time"));
  const std::string journal = ReadFile(Run("side_by_side/study.journal")).value();
  EXPECT_THAT(journal, HasSubstr("\"slots\":2"));
  for (int trial = 0; trial < 4; ++trial) {
    const std::string folder = Run(StrCat("side_by_side/trials/trial-", trial));
    EXPECT_TRUE(PathExists(folder + "/trial.json")) << trial;
  }
}

TEST_F(EndToEnd, ADryRunWritesNothing) {
  const Outcome outcome = Mixrec("train --dry_run" + Flags("dry"));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("--bottleneck=4"));
  EXPECT_THAT(outcome.out, HasSubstr("steps: "));
  EXPECT_FALSE(PathExists(Run("dry")));
}

TEST_F(EndToEnd, TheKindOfMistakeDecidesTheExitCode) {
  ASSERT_EQ(Mixrec("train --epochs=1" + Flags("kinds")).code, 0);
  EXPECT_EQ(Mixrec("train --bacth=3").code, 2);
  EXPECT_EQ(Mixrec("train --architecture=01" + Flags("bad")).code, 2);
  EXPECT_EQ(Mixrec("train --sampled_softmax=9" + Flags("bad")).code, 2);  // without servers
  EXPECT_EQ(Mixrec("train --staleness=1" + Flags("bad")).code, 2);        // of bsp
  EXPECT_EQ(Mixrec("train --data=/nowhere --backbone=" + Backbone() + " --out=" + Run("bad")).code,
            3);
  EXPECT_EQ(Mixrec("evaluate --run=" + Run("no_such_run")).code, 3);
  const Outcome other = Mixrec("train --epochs=1" + Flags("kinds") + " --lr=0.5");
  EXPECT_EQ(other.code, 2);
  EXPECT_THAT(other.err, HasSubstr("--lr"));
}

TEST_F(EndToEnd, OtherDataThanTheRunsStopsTheEvaluation) {
  ASSERT_EQ(Mixrec("train --epochs=1" + Flags("hashed")).code, 0);
  ASSERT_EQ(Mixrec("synth --user_count=60 --item_count=40 --seed=2 --out=" + Run("other")).code, 0);
  const Outcome outcome = Mixrec("evaluate --run=" + Run("hashed") + " --data=" + Run("other"));
  EXPECT_EQ(outcome.code, 3);
  EXPECT_THAT(outcome.err, HasSubstr("the data in "));
}

// More than 50 steps.
constexpr char kLong[] = "train --epochs=8 --dropout=.1";

TEST_F(EndToEnd, TrainingWithThreeServerProcessesLosesWhatEmbeddedTrainingDoes) {
  const Outcome embedded = Mixrec(kLong + Flags("embedded"));
  ASSERT_EQ(embedded.code, 0) << embedded.err;
  Servers servers({"--shards=3"}, Scratch());
  servers.Start();
  ASSERT_TRUE(servers.WaitReady());
  const Outcome served = Mixrec(StrCat(kLong, Flags("served"), " --ps=", servers.address()));
  ASSERT_EQ(served.code, 0) << served.err;
  worker::ExpectClose(worker::Losses(Run("embedded")), worker::Losses(Run("served")), 1e-5);

  // The run is complete without the servers.
  const Json kept = LastLine(Mixrec("evaluate --run=" + Run("embedded")).out)["metrics"];
  const Json from_tables = LastLine(Mixrec("evaluate --run=" + Run("served")).out)["metrics"];
  EXPECT_NEAR(kept["MRR"].get<double>(), from_tables["MRR"].get<double>(), 1e-3);
}

TEST_F(EndToEnd, StoppedRunResumesOnServersThatKnowNothing) {
  Servers servers({"--shards=2"}, Scratch());
  servers.Start();
  ASSERT_TRUE(servers.WaitReady());
  const std::string undisturbed = StrCat(kLong, Flags("undisturbed"), " --ps=", servers.address());
  ASSERT_EQ(Mixrec(undisturbed).code, 0);

  const std::string command =
      StrCat(kLong, Flags("lost"), " --ps=", servers.address(), " --ps_deadline=10");
  const Outcome stopped = Mixrec(command + " --simulate_preemption=20");
  ASSERT_EQ(stopped.code, kExitStopped) << stopped.err;
  // The rows of the stopped run are in its checkpoint alone; new processes know nothing.
  for (const pid_t shard : servers.Pids()) ::kill(shard, SIGKILL);
  ASSERT_TRUE(servers.WaitReady());
  const Outcome resumed = Mixrec(command);
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(worker::Losses(Run("lost")), worker::Losses(Run("undisturbed")));

  servers.process().Signal(SIGKILL);
  for (const pid_t shard : servers.Pids()) ::kill(shard, SIGKILL);
  const Outcome alone =
      Mixrec(StrCat(kLong, Flags("alone"), " --ps=", servers.address(), " --ps_deadline=1"));
  EXPECT_EQ(alone.code, kExitFailure);
  EXPECT_THAT(alone.err, HasSubstr("no parameter server answers at " + servers.address()));
  EXPECT_EQ(Lines(alone.err).size(), 1u) << alone.err;
}

}  // namespace
}  // namespace mixrec
