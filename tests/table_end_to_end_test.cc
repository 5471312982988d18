// `mixrec table` as processes on a minute data set: rows, failures, stopping and going on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "common/file.h"
#include "common/status.h"

namespace mixrec {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

struct Outcome {
  int code = -1;
  std::string out;
};

// A folder of this process: ctest runs the tests of this file beside each other.
std::string Scratch() { return StrCat(::testing::TempDir(), "/table_test.", ::getpid()); }

// Runs the program; sends SIGTERM as soon as a line of what it prints begins with `stop_at`.
Outcome Mixrec(const std::string& arguments, const std::string& stop_at = "") {
  // The shell tells its process id, then becomes the program.
  const std::string command = StrCat("echo $$; exec ", MIXREC_PROGRAM, " ", arguments, " 2>&1");
  Outcome outcome;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return outcome;
  char line[8192];
  pid_t process = 0;
  while (std::fgets(line, sizeof(line), pipe) != nullptr) {
    if (process == 0) {
      process = static_cast<pid_t>(std::stol(line));
      continue;
    }
    outcome.out += line;
    if (!stop_at.empty() && std::string(line).rfind(stop_at, 0) == 0) ::kill(process, SIGTERM);
  }
  const int status = ::pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

class TableEndToEnd : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::filesystem::remove_all(Scratch());
    ASSERT_TRUE(MakeFolder(Scratch()).ok());
    ASSERT_EQ(Mixrec("synth --user_count=60 --item_count=40 --out=" + At("data")).code, 0);
    ASSERT_EQ(Mixrec(StrCat("pretrain --data=", At("data"), " --out=", At("lm"),
                            " --tokenizer=train:400 --hidden=32 --layers=2 --epochs=1 --batch=4"
                            " --threads=1"))
                  .code,
              0);
    // A system that cannot be trained: three layers' bits for two layers.
    ASSERT_TRUE(WriteFileAtomic(At("bad.flags"), "# Bad.\n--architecture=010101010\n").ok());
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(Scratch()); }

  static std::string At(const std::string& name) { return StrCat(Scratch(), "/", name); }
  static std::string Table(const std::string& systems, const std::string& out,
                           const std::string& more = "") {
    return StrCat("table --data=", At("data"), " --backbone=", At("lm"), " --systems=", systems,
                  " --variations=" MIXREC_SOURCE_DIR "/configs/variations --out=", At(out),
                  " --epochs=2 --batch=16 --n_cl=1 --lr=1e-3 --bottleneck=4 --trials=2"
                  " --trial_epochs=1 --bo_fraction=.5 --device=cpu --threads=1 --jobs=2 ",
                  more);
  }
  static Json Row(const std::string& out, const std::string& row) {
    return Json::parse(ReadFile(At(StrCat(out, "/runs/", row, "/row.json"))).value());
  }
};

TEST_F(TableEndToEnd, AStoppedTableGoesOnToTheTableOfAnUnbrokenOne) {
  const std::string systems = "mixrec:1,serial,mf:1";
  const Outcome whole = Mixrec(Table(systems, "whole", "--seeds=2"));
  ASSERT_EQ(whole.code, 0) << whole.out;
  const Outcome stopped = Mixrec(Table(systems, "parts", "--seeds=2"), "[1/4] ");
  ASSERT_EQ(stopped.code, kExitStopped) << stopped.out;
  const Outcome resumed = Mixrec(Table(systems, "parts", "--seeds=2"));
  ASSERT_EQ(resumed.code, 0) << resumed.out;
  EXPECT_THAT(resumed.out, Not(HasSubstr("4 rows, 0 finished before")));
  for (const char* file : {"table.md", "table.html", "table.tsv", "table.jsonl"}) {
    EXPECT_EQ(ReadFile(At(StrCat("whole/", file))).value(),
              ReadFile(At(StrCat("parts/", file))).value())
        << file;
  }
  // The searched architecture is that of the study, and another table may use the same study.
  const std::string bits = Row("whole", "mixrec/seed-1")["flags"]["architecture"];
  EXPECT_THAT(ReadFile(At("whole/search/best.flags")).value(), HasSubstr(bits));
  const Outcome again = Mixrec(Table("mixrec:1", "again", StrCat("--study=", At("whole/search"))));
  ASSERT_EQ(again.code, 0) << again.out;
  EXPECT_FALSE(PathExists(At("again/search")));
  EXPECT_EQ(Row("again", "mixrec/seed-1")["evaluations"],
            Row("whole", "mixrec/seed-1")["evaluations"]);
  // Nothing is left to do.
  const Outcome done = Mixrec(Table(systems, "whole", "--seeds=2"));
  ASSERT_EQ(done.code, 0) << done.out;
  EXPECT_THAT(done.out, HasSubstr("4 rows, 4 finished before"));
}

TEST_F(TableEndToEnd, ARowThatFailsIsReportedAndTheOthersGoOn) {
  const Outcome outcome =
      Mixrec(Table(StrCat(At("bad.flags"), ",frozen-ncf,llmrec"), "failing", "--seeds=1"));
  EXPECT_EQ(outcome.code, kExitFailure) << outcome.out;
  EXPECT_THAT(outcome.out, HasSubstr("bad seed 1: FAILED: mixrec train: "));
  EXPECT_THAT(outcome.out, HasSubstr("1 of 3 rows have no result"));
  EXPECT_THAT(ReadFile(At("failing/table.md")).value(), HasSubstr("- bad, seed 1: mixrec train: "));
  EXPECT_EQ(Row("failing", "bad/seed-1")["state"], "failed");
  for (const char* row : {"frozen-ncf/seed-1", "llmrec/seed-1"}) {
    EXPECT_EQ(Row("failing", row)["state"], "finished") << row;
    EXPECT_EQ(Row("failing", row)["evaluations"].size(), 4u) << row;
  }
  EXPECT_TRUE(PathExists(At("failing/cf/frozen-ncf.seed-1/cf.safetensors")));
}

TEST_F(TableEndToEnd, ADryRunPrintsTheCommandsAndWritesNothing) {
  const Outcome outcome =
      Mixrec(Table("named", "dry", "--seeds=2 --dry_run --max_walltime=9:00:00"));
  ASSERT_EQ(outcome.code, 0) << outcome.out;
  EXPECT_THAT(outcome.out, HasSubstr("mixrec search "));
  EXPECT_THAT(outcome.out, HasSubstr("mixrec train-cf "));
  EXPECT_THAT(outcome.out, HasSubstr("rows: 14"));
  EXPECT_THAT(outcome.out, Not(HasSubstr("walltime")));  // it is the table's time
  EXPECT_FALSE(PathExists(At("dry")));
}

TEST_F(TableEndToEnd, OtherFlagsNeedAnotherFolder) {
  ASSERT_EQ(Mixrec(Table("llmrec", "flags", "--seeds=1")).code, 0);
  const Outcome outcome = Mixrec(Table("llmrec", "flags", "--seeds=1 --lambda_cf=.5"));
  EXPECT_EQ(outcome.code, kExitUsage);
  EXPECT_THAT(outcome.out, HasSubstr("--lambda_cf"));
  const Outcome more = Mixrec(Table("llmrec,base", "flags", "--seeds=1"));  // more rows may come
  EXPECT_EQ(more.code, 0) << more.out;
}

TEST_F(TableEndToEnd, OnlyATableKnowsWhatWasSearched) {
  const Outcome outcome =
      Mixrec(StrCat("train --architecture=searched --data=", At("data"), " --out=", At("x")));
  EXPECT_EQ(outcome.code, kExitUsage);
  EXPECT_THAT(outcome.out, HasSubstr("best.flags"));
}

}  // namespace
}  // namespace mixrec
