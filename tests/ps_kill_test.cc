// Servers and workers as processes that are killed and stopped at random moments. A run must end
// with the parameters of an undisturbed one, bit for bit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "common/file.h"
#include "common/random.h"
#include "tests/ps_process_fixture.h"
#include "tests/test_folder.h"

namespace mixrec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kShards = 3;

enum class Fault {
  kKillPrimary,
  kKillBackup,
  kKillWorker,
  kKillAuthority,
  kStopPrimary,
  kStopBackup,
  kStopWorker,
};
constexpr const char* kNames[] = {"kill-9 primary",   "kill-9 backup", "kill-9 worker",
                                  "kill-9 authority", "stop primary",  "stop backup",
                                  "stop worker"};

JobOptions MakeJob(const Servers& servers, const std::string& folder, int world) {
  JobOptions job;
  job.servers = servers.address();
  job.folder = folder;
  job.world = world;
  return job;
}

// The parameters of a run that nobody disturbs.
std::string Undisturbed(const Servers& servers, const std::string& folder, int world,
                        int steps = JobOptions().steps) {
  JobOptions job = MakeJob(servers, folder, world);
  job.steps = steps;
  WorkerGroup group(job);
  group.Start();
  EXPECT_TRUE(group.WaitForEnd(60)) << group.Errors();
  return group.Parameters();
}

void StopFor(const Process* process, pid_t pid, double seconds, WorkerGroup* group) {
  if (process != nullptr) pid = process->pid();
  ::kill(pid, SIGSTOP);
  group->Codes(seconds);  // the run goes on meanwhile, or waits
  ::kill(pid, SIGCONT);
}

void Inject(Fault fault, RandomStream* random, Servers* servers, WorkerGroup* group, int world) {
  const size_t shard = random->Below(kShards);
  const int rank = static_cast<int>(random->Below(static_cast<uint64_t>(world)));
  const pid_t primary = servers->PidOf(shard, "primary"), backup = servers->PidOf(shard, "backup");
  const double pause = 0.2 + 3.3 * random->Uniform();  // given up after 2 s
  switch (fault) {
    case Fault::kKillPrimary:
      ::kill(primary, SIGKILL);
      return;
    case Fault::kKillBackup:
      ::kill(backup, SIGKILL);
      return;
    case Fault::kKillWorker:
      group->rank(rank).Signal(SIGKILL);
      group->Start();
      return;
    case Fault::kKillAuthority:
      servers->process().Signal(SIGKILL);
      servers->process().Wait(In(10));
      group->Codes(0.1 * random->Uniform());
      servers->Start();
      return;
    case Fault::kStopPrimary:
      return StopFor(nullptr, primary, pause, group);
    case Fault::kStopBackup:
      return StopFor(nullptr, backup, pause, group);
    case Fault::kStopWorker:
      return StopFor(&group->rank(rank), 0, pause, group);
  }
}

// One run with one fault at a random moment. The time it took.
double RunDisturbed(Fault fault, uint64_t seed, Servers* servers, const std::string& folder,
                    int world, const std::string& expected) {
  const Instant start = In(0);
  RandomStream random(seed);
  const JobOptions job = MakeJob(*servers, folder, world);
  WorkerGroup group(job);
  group.Start();
  const int step = static_cast<int>(random.Below(static_cast<uint64_t>(job.steps - 1)));
  SCOPED_TRACE(StrCat(kNames[static_cast<int>(fault)], " at step ", step, ", seed ", seed));
  if (!group.WaitForStep(step)) return 0;
  group.Codes(0.005 * random.Uniform());  // somewhere within the step
  Inject(fault, &random, servers, &group, world);
  EXPECT_TRUE(group.WaitForEnd(60)) << group.Errors() << "\nservers:\n" << servers->Log();
  EXPECT_TRUE(group.Parameters() == expected) << "other parameters than undisturbed";
  return std::chrono::duration<double>(In(0) - start).count();
}

int Environment(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::atoi(value);
}

std::vector<float> Floats(const std::string& bytes) {
  std::vector<float> floats(bytes.size() / sizeof(float));
  std::memcpy(floats.data(), bytes.data(), floats.size() * sizeof(float));
  return floats;
}

// MIXREC_KILL_ROUNDS rounds (one of each fault without it), with seeds from MIXREC_KILL_SEED on.
TEST(PsKill, DisturbedRunEndsWithTheParametersOfAnUndisturbedOne) {
  const std::string folder = TestFolder();
  Servers servers({StrCat("--shards=", kShards), "--replicas=1", "--state=" + folder + "/state"},
                  folder);
  ASSERT_TRUE(servers.WaitReady());
  const std::string expected = Undisturbed(servers, folder + "/undisturbed", 2);
  ASSERT_NE(expected, "");
  const int rounds = Environment("MIXREC_KILL_ROUNDS", 7),
            seed = Environment("MIXREC_KILL_SEED", 1);
  for (int round = 0; round < rounds && !HasFailure(); ++round) {
    const auto fault = static_cast<Fault>(round % 7);
    const double seconds = RunDisturbed(fault, static_cast<uint64_t>(seed + round), &servers,
                                        StrCat(folder, "/round.", round), /*world=*/2, expected);
    std::printf("round %d: %s, %.1f s, %s\n", round, kNames[static_cast<int>(fault)], seconds,
                HasFailure() ? "FAILED" : "equal");
    std::fflush(stdout);
    ASSERT_TRUE(servers.WaitReady());
  }
}

TEST(PsKill, RestartedAuthorityTakesOverTheRunningShards) {
  const std::string folder = TestFolder();
  Servers servers({"--shards=2", "--replicas=1", "--state=" + folder + "/state"}, folder);
  ASSERT_TRUE(servers.WaitReady());
  const std::vector<pid_t> before = servers.Pids();
  servers.process().Signal(SIGKILL);
  ASSERT_TRUE(servers.process().Wait(In(10)).has_value());
  servers.Start();
  ASSERT_TRUE(servers.WaitReady());
  EXPECT_EQ(servers.Pids(), before);
  // And it decides again.
  ::kill(before[0], SIGKILL);
  const std::string expected = Undisturbed(servers, folder + "/one", 1);
  EXPECT_NE(expected, "");
  ASSERT_TRUE(servers.WaitReady());
  EXPECT_NE(servers.PidOf(0, "primary"), before[0]);
}

TEST(PsKill, ShardsOfOneProcessAreLostAndReplacedTogether) {
  const std::string folder = TestFolder();
  Servers servers({"--shards=4", "--sockets=2", "--replicas=1"}, folder);
  ASSERT_TRUE(servers.WaitReady());
  std::vector<pid_t> pids = servers.Pids();
  std::sort(pids.begin(), pids.end());
  EXPECT_EQ(pids.size(), 8u);
  EXPECT_EQ(std::unique(pids.begin(), pids.end()) - pids.begin(), 4);
  const std::string expected = Undisturbed(servers, folder + "/undisturbed", 2);
  WorkerGroup group(MakeJob(servers, folder + "/disturbed", 2));
  group.Start();
  ASSERT_TRUE(group.WaitForStep(50));
  ::kill(servers.PidOf(1, "primary"), SIGKILL);
  EXPECT_TRUE(group.WaitForEnd(60)) << group.Errors() << servers.Log();
  EXPECT_TRUE(group.Parameters() == expected);
  EXPECT_TRUE(servers.WaitReady());
}

TEST(PsKill, LostShardWithoutABackupIsOneClearErrorAndTheSnapshotGoesOn) {
  const std::string folder = TestFolder();
  Servers servers({StrCat("--shards=", kShards)}, folder);
  ASSERT_TRUE(servers.WaitReady());
  const std::string expected = Undisturbed(servers, folder + "/undisturbed", 1);
  WorkerGroup group(MakeJob(servers, folder + "/disturbed", 1));
  group.Start();
  ASSERT_TRUE(group.WaitForStep(70));
  ::kill(servers.PidOf(1, "primary"), SIGKILL);
  EXPECT_EQ(group.Codes(30), std::vector<int>{1}) << servers.Log();
  const std::string errors = group.Errors();
  EXPECT_THAT(errors, HasSubstr("table_worker: shard 1 at tcp://"));
  EXPECT_EQ(std::count(errors.begin(), errors.end(), '\n'), 1) << errors;
  ASSERT_TRUE(servers.WaitReady());
  group.Start();
  EXPECT_TRUE(group.WaitForEnd(60)) << group.Errors();
  EXPECT_TRUE(group.Parameters() == expected);
}

TEST(PsProcesses, AnyNumberOfWorkersGivesTheSameBitsEveryTimeAndTheSameRunToRounding) {
  const std::string folder = TestFolder();
  Servers servers({StrCat("--shards=", kShards)}, folder);
  ASSERT_TRUE(servers.WaitReady());
  std::vector<float> one;
  for (const int world : {1, 2, 4}) {
    const std::string first = Undisturbed(servers, StrCat(folder, "/first.", world), world, 50);
    const std::string second = Undisturbed(servers, StrCat(folder, "/second.", world), world, 50);
    EXPECT_TRUE(!first.empty() && first == second) << world << " workers";
    const std::vector<float> floats = Floats(first);
    if (world == 1) one = floats;
    ASSERT_EQ(floats.size(), one.size());
    for (size_t i = 0; i < one.size(); ++i) {
      ASSERT_NEAR(floats[i], one[i], 2e-3) << world << " workers, value " << i;
    }
  }
}

TEST(PsProcesses, OnlyWorkersWithTheKeyComeIn) {
  const std::string folder = TestFolder(), key = folder + "/key";
  Servers servers({"--shards=2", "--key_file=" + key}, folder);
  ASSERT_TRUE(servers.WaitReady());
  struct stat info {};
  ASSERT_EQ(::stat(key.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  JobOptions job = MakeJob(servers, folder + "/without", 1);
  job.deadline = 1;
  WorkerGroup without(job);
  without.Start();
  EXPECT_EQ(without.Codes(20), std::vector<int>{1});
  EXPECT_THAT(without.Errors(), HasSubstr("no parameter server answers at " + job.servers));

  Servers others({"--shards=1", "--key_file=" + folder + "/other"}, folder);
  ASSERT_TRUE(others.WaitReady());
  job.folder = folder + "/wrong";
  job.key_file = folder + "/other";
  WorkerGroup wrong(job);
  wrong.Start();
  EXPECT_EQ(wrong.Codes(20), std::vector<int>{1});
  EXPECT_THAT(wrong.Errors(), HasSubstr("is the key its own?"));
  EXPECT_THAT(servers.Log(), HasSubstr("do both sides use the same key file?"));

  job.folder = folder + "/right";
  job.key_file = key;
  job.deadline = 20;
  WorkerGroup right(job);
  right.Start();
  EXPECT_TRUE(right.WaitForEnd(60)) << right.Errors();
}

TEST(PsProcesses, TermEndsAllProcessesWithCodeZero) {
  const std::string folder = TestFolder();
  Servers servers({"--shards=2", "--replicas=1"}, folder);
  ASSERT_TRUE(servers.WaitReady());
  const std::vector<pid_t> pids = servers.Pids();
  EXPECT_EQ(pids.size(), 4u);
  servers.process().Signal(SIGTERM);
  EXPECT_EQ(servers.process().Wait(In(15)), std::optional<int>(0)) << servers.Log();
  for (const pid_t pid : pids) EXPECT_NE(::kill(pid, 0), 0) << pid;
}

TEST(PsProcesses, KilledParentWithoutStateTakesItsShardsAlong) {
  const std::string folder = TestFolder();
  Servers servers({"--shards=2"}, folder);
  ASSERT_TRUE(servers.WaitReady());
  const std::vector<pid_t> pids = servers.Pids();
  servers.process().Signal(SIGKILL);
  const Instant until = In(15);
  for (const pid_t pid : pids) {
    EXPECT_TRUE(WaitForEndOf(pid, until)) << servers.Log();
  }
}

TEST(PsProcesses, WrongCommandsAreOneLineAndAnExitCode) {
  const std::string folder = TestFolder();
  Servers servers({"--shards=1"}, folder);
  ASSERT_TRUE(servers.WaitReady());
  const auto run = [&](const std::string& name, const std::string& flag) {
    Process process({MIXREC_PROGRAM, "ps", flag}, folder + "/" + name);
    const auto code = process.Wait(In(20));
    const auto errors = ReadFile(folder + "/" + name);
    return StrCat(code.value_or(-1), " ", errors.ok() ? *errors : "");
  };
  EXPECT_THAT(run("open", "--listen=10.1.2.3:7077"), HasSubstr("2 mixrec ps: --listen=10.1.2.3"));
  EXPECT_THAT(run("sockets", "--sockets=2"), HasSubstr("2 mixrec ps: --sockets=2"));
  EXPECT_THAT(run("any", "--listen=0.0.0.0:7077"), HasSubstr("2 mixrec ps: --listen=0.0.0.0"));
  EXPECT_THAT(run("taken", "--listen=" + servers.address()),
              AllOf(HasSubstr("1 mixrec ps: "), HasSubstr("in use")));
}

}  // namespace
}  // namespace mixrec
