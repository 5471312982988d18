// Commands by several ranks of a real mpirun: what they print and write is what one process does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/file.h"
#include "tests/ranks_fixture.h"
#include "tests/training_records.h"

namespace mixrec {
namespace {

using ::testing::HasSubstr;

class Ranks : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { RanksWorld::SetUp(); }
  static void TearDownTestSuite() { RanksWorld::TearDown(); }
  static std::string Path(const std::string& name) { return RanksWorld::Path(name); }

  // A trained model, by one process.
  static std::string Trained() {
    const std::string run = Path("trained");
    const Outcome outcome = Shell(RanksWorld::Train(run, "--epochs=1"));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return run;
  }
};

TEST_F(Ranks, EvaluationAndRecommendationsAreThoseOfOneProcess) {
  const std::string run = Trained();
  const auto evaluate = [&](const std::string& name) {
    return RanksWorld::Program(StrCat("evaluate --run=", run, " --threads=1 --device=cpu",
                                      " --ranks_out=", Path(name + ".tsv"),
                                      " --json_out=", Path(name + ".json")));
  };
  const Outcome alone = Shell(evaluate("alone"));
  ASSERT_EQ(alone.code, 0) << alone.err;
  const Outcome three = Shell(StrCat(RanksWorld::Mpirun("-n 3 "), evaluate("three")));
  ASSERT_EQ(three.code, 0) << three.err;
  const size_t map = three.err.find("ranks of evaluate on ");
  ASSERT_NE(map, std::string::npos) << three.err;
  EXPECT_EQ(three.err.substr(three.err.find(": ", map), 10), ": 0, 1, 2\n") << three.err;
  const std::string servers = StrCat("-n 2 ", RanksWorld::Program("ps --log_level=error"), " : ");
  const Outcome served = Shell(StrCat(RanksWorld::Mpirun(servers + "-n 2 "), evaluate("served")));
  ASSERT_EQ(served.code, 0) << served.err;
  for (const char* name : {"three", "served"}) {
    for (const char* kind : {".tsv", ".json"}) {
      EXPECT_EQ(ReadFile(Path(std::string(name) + kind)).value_or("none"),
                ReadFile(Path(std::string("alone") + kind)).value_or("missing"))
          << name << kind;
    }
  }
  EXPECT_EQ(CountOf("\"NDCG@10\"", three.out), 1) << three.out;

  std::string users;
  for (int user = 1; user <= 30; ++user) users += StrCat("u", user, "\n");
  const std::string ids = StrCat("cut -f1 ", Path("alone.tsv"), " > ", Path("ids"));
  ASSERT_EQ(Shell(ids).code, 0);
  const std::string recommend = RanksWorld::Program(
      StrCat("recommend --run=", run, " --threads=1 --device=cpu --users_file=", Path("ids")));
  const Outcome one = Shell(recommend);
  ASSERT_EQ(one.code, 0) << one.err;
  EXPECT_EQ(CountOf("\n", one.out), 60);
  EXPECT_EQ(Shell(StrCat(RanksWorld::Mpirun("-n 3 "), recommend)).out, one.out);
}

TEST_F(Ranks, AFailureIsSaidOnceAndItsCodeIsThatOfTheJob) {
  const Outcome missing = Shell(StrCat(
      RanksWorld::Mpirun("-n 3 "), RanksWorld::Program("evaluate --run=/nowhere --device=cpu")));
  EXPECT_EQ(missing.code, 3) << missing.err;
  EXPECT_EQ(CountOf("mixrec evaluate:", missing.err), 1) << missing.err;
  const Outcome flag =
      Shell(StrCat(RanksWorld::Mpirun("-n 3 "), RanksWorld::Program("evaluate --rum=/nowhere")));
  EXPECT_EQ(flag.code, 2) << flag.err;
  EXPECT_EQ(CountOf("mixrec evaluate:", flag.err), 1) << flag.err;
  const Outcome other = Shell(StrCat(RanksWorld::Mpirun("-n 1 "),
                                     RanksWorld::Program("evaluate --run=a --device=cpu : -n 1 "),
                                     RanksWorld::Program("evaluate --run=b --device=cpu")));
  EXPECT_EQ(other.code, 2) << other.err;
  EXPECT_THAT(other.err, HasSubstr("has other flags or another program than rank 0"));
}

TEST_F(Ranks, ACommandOfOneProcessRefusesSeveral) {
  const Outcome outcome = Shell(
      StrCat(RanksWorld::Mpirun("-n 2 "), RanksWorld::Program("synth --out="), Path("synth")));
  EXPECT_EQ(outcome.code, 2) << outcome.err;
  EXPECT_EQ(CountOf("is one process; mpirun started 2", outcome.err), 1) << outcome.err;
}

TEST_F(Ranks, TorchrunIsNoLauncher) {
  const Outcome outcome = Shell("RANK=0 LOCAL_RANK=0 WORLD_SIZE=2 " +
                                RanksWorld::Program("evaluate --run=/nowhere --device=cpu"));
  EXPECT_EQ(outcome.code, 2) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("start them by mpirun or srun --mpi=pmix, not by torchrun"));
}

TEST_F(Ranks, ServersOfTheSameMpirunNeedNoAddress) {
  const std::string run = Path("served");
  const std::string command =
      StrCat(RanksWorld::Mpirun("-n 2 "), RanksWorld::Program("ps --log_level=error"), " : -n 1 ",
             RanksWorld::Train(run, "--epochs=1"));
  const Outcome outcome = Shell(command);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(PathExists(run + "/checkpoints/last/tables"));
  EXPECT_THAT(outcome.out, HasSubstr("best validation MRR"));
  EXPECT_EQ(CountOf("ps: ready", outcome.out), 0) << "servers of others are silent";
}

// As on a GPU, whose ranks step so.
TEST_F(Ranks, PaddedStepsLearnWhatPlainStepsOfOneProcessLearn) {
  const std::string flags = "--epochs=1 --log_steps=1";
  const std::string alone = Path("plain-alone");
  const Outcome plain = Shell(RanksWorld::Train(alone, flags));
  ASSERT_EQ(plain.code, 0) << plain.err;
  const std::string servers = StrCat("-n 2 ", RanksWorld::Program("ps --log_level=error"), " : ");
  for (const std::string& beside : {std::string(), servers}) {
    const std::string run = Path(beside.empty() ? "padded" : "padded-served");
    const Outcome padded = Shell(StrCat(RanksWorld::Mpirun(beside + "-n 2 "),
                                        RanksWorld::Train(run, flags + " --pad_steps=always")));
    ASSERT_EQ(padded.code, 0) << padded.err;
    const auto wanted = worker::Losses(alone), found = worker::Losses(run);
    ASSERT_FALSE(wanted.empty());
    ASSERT_EQ(wanted.size(), found.size());
    for (size_t k = 0; k < wanted.size(); ++k) EXPECT_NEAR(wanted[k], found[k], 1e-4) << k;
  }
}

// What a script prints in a rehearsal is a command line, and nothing is started.
TEST_F(Ranks, ScriptsInARehearsalOnlyPrintWhatTheyWouldStart) {
  const std::string scripts = MIXREC_SOURCE_DIR "/launch/", hosts = Path("hosts");
  ASSERT_TRUE(WriteFileAtomic(hosts, "node1 slots=2\n# node2\nnode3 slots = 3\n").ok());
  const std::string run = Path("rehearsed"), train = StrCat(" train --out=", run);
  const Outcome local = Shell(StrCat("MIXREC_RANKS=3 MIXREC_SERVERS=2 MIXREC_PROGRAM=/p/mixrec ",
                                     scripts, "run_local.sh --dry_run", train));
  EXPECT_EQ(local.code, 0) << local.err;
  EXPECT_THAT(local.out, HasSubstr("--mca odls_base_sigkill_timeout 120"));
  EXPECT_THAT(local.out, HasSubstr("-n 2 /p/mixrec ps : -n 3 /p/mixrec train --out="));
  const Outcome spread = Shell(StrCat(scripts, "run_hosts.sh --dry_run ", hosts, train));
  EXPECT_EQ(spread.code, 0) << spread.err;
  EXPECT_THAT(spread.out, HasSubstr(StrCat("--hostfile ", hosts)));
  EXPECT_THAT(spread.out, HasSubstr("-n 5 ")) << "as many as there are slots";
  const Outcome nodes = Shell(StrCat(scripts, "train_nodes.sh --dry_run ", hosts, " --out=", run));
  EXPECT_EQ(nodes.code, 0) << nodes.err;
  EXPECT_EQ(CountOf("mpirun ", nodes.out), 2) << "a training and its evaluation";
  const Outcome gpus = Shell(StrCat("MIXREC_GPUS=4 ", scripts, "bench_gpus.sh --dry_run ", run));
  EXPECT_EQ(gpus.code, 0) << gpus.err;
  EXPECT_THAT(gpus.out, HasSubstr("bench step --shape=opt-1.3b --batch=32"));
  EXPECT_FALSE(PathExists(run));
}

}  // namespace
}  // namespace mixrec
