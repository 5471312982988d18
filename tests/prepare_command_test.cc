// `mixrec prepare` and `mixrec synth --raw`, in one process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "launch/commands.h"
#include "tests/test_folder.h"

namespace mixrec::launch {
namespace {

using ::testing::HasSubstr;

struct Outcome {
  int code = 0;
  std::string out, err;
};

Outcome Type(std::vector<std::string> words) {
  words.push_back("--log_level=error");
  std::ostringstream out, err;
  Outcome outcome;
  outcome.code = RunProgram(AllCommands(), words, out, err);
  outcome.out = out.str();
  outcome.err = err.str();
  return outcome;
}

TEST(PrepareCommand, RawFilesBecomeADataSetThatTheSameCommandChecks) {
  const std::string folder = TestFolder(), shop = folder + "/shop", out = folder + "/out";
  ASSERT_EQ(Type({"synth", "--out=" + shop, "--user_count=60", "--item_count=40", "--raw"}).code,
            0);
  const std::vector<std::string> prepare{"prepare", "--reviews=" + shop + "/reviews.json.gz",
                                         "--meta=" + shop + "/meta.json.gz", "--out=" + out,
                                         "--name=tools"};
  const Outcome made = Type(prepare);
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_THAT(made.out, HasSubstr("after the filter: 60 users"));
  const std::string interactions = *ReadFile(out + "/tools.inter");
  const Outcome checked = Type({"prepare", "--data=" + out});
  ASSERT_EQ(checked.code, 0) << checked.err;
  EXPECT_THAT(checked.out, HasSubstr("density"));
  EXPECT_THAT(checked.out, HasSubstr("data hash: "));
  ASSERT_EQ(Type(prepare).code, 0);
  EXPECT_EQ(*ReadFile(out + "/tools.inter"), interactions);
}

TEST(PrepareCommand, WhatIsMissingOrTooMuchIsNamed) {
  const std::string folder = TestFolder();
  EXPECT_EQ(Type({"prepare"}).code, kExitUsage);
  EXPECT_EQ(Type({"prepare", "--reviews=a", "--out=b"}).code, kExitUsage);
  EXPECT_EQ(Type({"prepare", "--reviews=a", "--data=b"}).code, kExitUsage);
  const Outcome missing = Type({"prepare", "--reviews=" + folder + "/none",
                                "--meta=" + folder + "/nothing", "--out=" + folder + "/out"});
  EXPECT_EQ(missing.code, kExitData);
  EXPECT_THAT(missing.err, HasSubstr("/nothing"));
}

}  // namespace
}  // namespace mixrec::launch
