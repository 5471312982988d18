// Who asks a training to stop: its own time, or the signal that was chosen.
#include "launch/stop_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/file.h"
#include "tests/shell.h"
#include "tests/temporary_folder.h"

namespace mixrec::launch {
namespace {

using ::testing::HasSubstr;

TEST(Walltime, IsReadAsSlurmWritesIt) {
  EXPECT_EQ(ParseWalltime("90").value(), 5400u);
  EXPECT_EQ(ParseWalltime("1:30").value(), 90u);
  EXPECT_EQ(ParseWalltime("01:30:05").value(), 5405u);
  EXPECT_EQ(ParseWalltime("2-12").value(), 216000u);
  EXPECT_EQ(ParseWalltime("2-12:30").value(), 217800u);
  EXPECT_EQ(ParseWalltime("2-12:30:01").value(), 217801u);
  EXPECT_EQ(ParseWalltime("1-00").value(), 86400u);
}

TEST(Walltime, AnythingElseIsAnError) {
  for (const char* text :
       {"0", "0:00", "x", "1h", "-5", "1:2:3:4", "1-2-3", "5000-00", ":", "1-x"}) {
    EXPECT_FALSE(ParseWalltime(text).ok()) << text;
  }
}

class StopFlags : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(Shell("$M synth --user_count=60 --item_count=40 --out=data").code, 0);
    ASSERT_EQ(Shell("$M pretrain --data=data --out=backbone --tokenizer=train:400 --hidden=32"
                    " --layers=2 --epochs=0 --threads=1")
                  .code,
              0);
  }

  // In the folder, `train` being a training that hardly ever ends.
  Outcome Shell(const std::string& script) const {
    return RunInShell(StrCat("cd ", folder_.path(), "; M=", MIXREC_PROGRAM,
                             "; train() { exec $M train --data=data --backbone=backbone --out=run"
                             " --epochs=100000 --batch=8 --n_cl=1 --bottleneck=4 --device=cpu"
                             " --threads=1 --log_level=error \"$@\"; }; ",
                             script),
                      folder_.path() + "/err");
  }

  std::string RunJson() const { return ReadFile(folder_.path() + "/run/run.json").value(); }

 private:
  TemporaryFolder folder_;
};

TEST_F(StopFlags, ATrainingSavesWhenItsTimeIsUp) {
  const Outcome outcome = Shell("train --max_walltime=0:01");
  EXPECT_EQ(outcome.code, 75) << outcome.err;
  EXPECT_THAT(RunJson(), HasSubstr("stopped on request after step "));
  EXPECT_EQ(Shell("train --max_walltime=1h").code, 2);
  // Another time is no other run, and is no part of its flags.
  EXPECT_EQ(Shell("train --max_walltime=0:02").code, 75);
  EXPECT_EQ(Shell("grep walltime run/flags.resolved").code, 1);
}

TEST_F(StopFlags, APreTrainingGoesOnAfterItsTimeIsUp) {
  int64_t done = 0;
  for (int start = 0; start < 2; ++start) {
    const Outcome outcome = Shell(
        "$M pretrain --data=data --tokenizer=train:300 --hidden=16 --layers=1 --heads=2 --ffn=32 "
        "--context=32 --out=lm --threads=1 --epochs=100000 --max_walltime=0:01");
    EXPECT_EQ(outcome.code, 75) << outcome.err;
    const std::string before = "stopped after step ";
    const size_t place = outcome.err.find(before);
    ASSERT_NE(place, std::string::npos) << outcome.err;
    const int64_t step = std::stoll(outcome.err.substr(place + before.size()));
    EXPECT_GT(step, done);
    done = step;
  }
}

// SIGUSR1 is then as it was found: ignored.
TEST_F(StopFlags, AnotherSignalTakesThePlaceOfUsr1) {
  const Outcome outcome = Shell(
      "trap '' USR1; train --stop_signal=USR2 & "
      "until [ -s run/metrics.jsonl ]; do sleep .05; done; kill -USR1 $!; "
      "lines=$(wc -l < run/metrics.jsonl); "
      "until [ $(wc -l < run/metrics.jsonl) -gt $((lines + 20)) ]; do sleep .05; done; "
      "kill -USR2 $!; wait $!");
  EXPECT_EQ(outcome.code, 75) << outcome.err;
  EXPECT_THAT(RunJson(), HasSubstr("stopped on request after step "));
}

}  // namespace
}  // namespace mixrec::launch
