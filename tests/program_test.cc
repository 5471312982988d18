#include "launch/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>
#include <stdexcept>

#include "common/file.h"
#include "launch/flags.h"

namespace mixrec::launch {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

struct Outcome {
  int code = 0;
  std::string out, err;
};

// Types a command line; every command does `command`.
Outcome Type(const std::vector<std::string>& arguments, const Command& command) {
  Commands commands;
  for (const Verb& verb : Verbs()) commands[verb.name] = command;
  std::ostringstream out, err;
  Outcome outcome;
  outcome.code = RunProgram(commands, arguments, out, err);
  outcome.out = out.str();
  outcome.err = err.str();
  return outcome;
}

Outcome Type(const std::vector<std::string>& arguments) {
  return Type(arguments, [](const Invocation&) { return absl::OkStatus(); });
}

TEST(Program, HelpListsEveryCommandOnStdoutAndExitsWithZero) {
  for (const char* word : {"help", "--help", "-h"}) {
    const Outcome outcome = Type({word});
    EXPECT_EQ(outcome.code, 0);
    EXPECT_EQ(outcome.err, "");
    for (const Verb& verb : Verbs()) EXPECT_THAT(outcome.out, HasSubstr("\n  " + verb.name + " "));
  }
}

TEST(Program, HelpOfACommandShowsItsFlagsAndNobodyElses) {
  for (const auto& arguments : {std::vector<std::string>{"help", "train"},
                                {"train", "--help"},
                                {"train", "--lr=1", "-h"}}) {
    const Outcome outcome = Type(arguments);
    EXPECT_EQ(outcome.code, 0);
    EXPECT_THAT(outcome.out, HasSubstr("\n  --lr=5e-05 "));
    EXPECT_THAT(outcome.out, HasSubstr("\n  --warmup_fraction=0.06 "));
    EXPECT_THAT(outcome.out, Not(HasSubstr("--trials")));
    EXPECT_THAT(outcome.out, Not(HasSubstr("--stderrthreshold")));
    EXPECT_THAT(outcome.out, Not(HasSubstr("--undefok")));
  }
}

TEST(Program, HelpLinesFitAHundredColumns) {
  for (const Verb& verb : Verbs()) {
    std::istringstream lines(Type({"help", verb.name}).out);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
  }
}

TEST(Program, VersionIsOneLine) {
  const Outcome outcome = Type({"--version"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.out, StartsWith("mixrec 0."));
  EXPECT_EQ(Type({"version"}).out, outcome.out);
}

TEST(Program, AnUnknownCommandIsAUsageErrorWithASuggestion) {
  const Outcome outcome = Type({"trian", "--lr=1"});
  EXPECT_EQ(outcome.code, kExitUsage);
  EXPECT_THAT(outcome.err, StartsWith("mixrec: unknown command \"trian\" (did you mean train?)"));
  EXPECT_EQ(Type({"help", "trian"}).code, kExitUsage);
  EXPECT_EQ(Type({}).code, kExitUsage);
  EXPECT_EQ(Type({"bench"}).code, kExitUsage);
  EXPECT_THAT(Type({"bench"}).err, HasSubstr("bench step, bench score, bench bo"));
}

TEST(Program, ABadFlagIsOneLineNamingTheCommand) {
  const Outcome outcome = Type({"train", "--bacth=3"});
  EXPECT_EQ(outcome.code, kExitUsage);
  EXPECT_THAT(outcome.err, StartsWith("mixrec train: unknown flag --bacth"));
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1);
  EXPECT_EQ(outcome.out, "");
}

TEST(Program, TheKindOfAFailureDecidesTheExitCode) {
  const auto code_of = [](const absl::Status& status) {
    return Type({"train"}, [status](const Invocation&) { return status; }).code;
  };
  EXPECT_EQ(code_of(absl::OkStatus()), 0);
  EXPECT_EQ(code_of(UsageError("x")), 2);
  EXPECT_EQ(code_of(DataError("x")), 3);
  EXPECT_EQ(code_of(MemoryError("x")), 4);
  EXPECT_EQ(code_of(StoppedError("x")), 75);
  EXPECT_EQ(code_of(FailureError("x")), 1);
}

TEST(Program, AnExceptionOfALibraryIsAFailureNotACrash) {
  const Outcome outcome = Type(
      {"train"}, [](const Invocation&) -> absl::Status { throw std::runtime_error("broken"); });
  EXPECT_EQ(outcome.code, kExitFailure);
  EXPECT_EQ(outcome.err, "mixrec train: broken\n");
}

TEST(Program, ACommandSeesItsFlagsAndTheyAreForgottenAfterwards) {
  const double before = FLAGS_lr;
  const Command command = [](const Invocation& invocation) {
    EXPECT_DOUBLE_EQ(FLAGS_lr, 0.25);
    EXPECT_EQ(FLAGS_inject, "user,item");
    EXPECT_TRUE(invocation.IsGiven("lr"));
    EXPECT_FALSE(invocation.IsGiven("batch"));
    EXPECT_EQ(invocation.values.at("batch"), "6");
    EXPECT_EQ(invocation.values.count("trials"), 0u);
    return absl::OkStatus();
  };
  EXPECT_EQ(Type({"train", "--lr=.25", "--inject=user,item"}, command).code, 0);
  EXPECT_DOUBLE_EQ(FLAGS_lr, before);
}

TEST(Program, OneValueHasOneText) {
  for (const char* rate : {"--lr=1e-3", "--lr=.001", "--lr=0.0010"}) {
    EXPECT_EQ(Type({"train", rate, "--tensorboard=no"},
                   [](const Invocation& invocation) {
                     EXPECT_EQ(invocation.values.at("lr"), "0.001");
                     EXPECT_EQ(invocation.values.at("tensorboard"), "false");
                     return absl::OkStatus();
                   })
                  .code,
              0);
  }
}

TEST(Program, ACommandMayHaveDefaultsOfItsOwn) {
  EXPECT_EQ(Type({"pretrain"},
                 [](const Invocation& invocation) {
                   EXPECT_DOUBLE_EQ(FLAGS_lr, 1e-3);
                   EXPECT_EQ(invocation.values.at("lr"), "0.001");
                   return absl::OkStatus();
                 })
                .code,
            0);
}

TEST(Program, EveryFlagOfEveryCommandIsDefinedAndItsDefaultIsAllowed) {
  const std::vector<Verb> verbs = Verbs();
  for (const Verb& verb : verbs) {
    const FlagTable table = MakeFlagTable(verbs, verb.name);
    for (const auto& [name, flag] : table.flags()) {
      EXPECT_NE(flag.help, "") << name;
      EXPECT_EQ(ExpectedInstead(flag, flag.default_value), "") << "--" << name;
    }
  }
}

TEST(Docs, FlagsPageListsEveryFlagWithItsDefaultAndMeaning) {
  const std::string page = ReadFile(MIXREC_SOURCE_DIR "/docs/flags.md").value();
  const FlagTable table = MakeFlagTable(Verbs(), "train");
  for (const auto& [name, flag] : table.flags()) {
    const std::string value = flag.default_value.empty() ? "" : "`" + flag.default_value + "`";
    EXPECT_THAT(page, HasSubstr("\n| `--" + name + "` | " + value));
    EXPECT_THAT(page, HasSubstr(flag.help));
  }
}

TEST(Configs, EveryFlagFileIsReadByTheCommandsItIsFor) {
  const std::filesystem::path configs = std::filesystem::path(MIXREC_SOURCE_DIR) / "configs";
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(configs)) {
    if (entry.path().extension() != ".flags") continue;
    ++files;
    const std::string flag = "--flagfile=" + entry.path().string();
    for (const char* verb : {"pretrain", "search", "train", "evaluate", "recommend"}) {
      const Outcome outcome = Type({verb, flag});
      EXPECT_EQ(outcome.code, 0) << outcome.err;
    }
  }
  EXPECT_GE(files, 10);
}

TEST(Configs, ThePapersFilesHoldTable3) {
  struct Row {
    const char* name;
    int batch;
    double fraction, align, contrast, cf;
  };
  const Row table[] = {{"arts", 5, .04, .1, 1e-6, .001},
                       {"scientific", 6, .2, .2, 1e-3, .1},
                       {"instruments", 7, .1, .1, 1e-3, .05},
                       {"pantry", 8, .2, .2, 1e-6, .1},
                       {"games", 8, .06, .05, 1e-3, .01}};
  for (const Row& row : table) {
    const std::string flag =
        std::string("--flagfile=" MIXREC_SOURCE_DIR "/configs/") + row.name + ".flags";
    const Outcome outcome = Type({"search", flag}, [&](const Invocation&) {
      EXPECT_EQ(FLAGS_batch, row.batch);
      EXPECT_DOUBLE_EQ(FLAGS_bo_fraction, row.fraction);
      EXPECT_DOUBLE_EQ(FLAGS_lambda_align, row.align);
      EXPECT_DOUBLE_EQ(FLAGS_lambda_cl, row.contrast);
      EXPECT_DOUBLE_EQ(FLAGS_lambda_cf, row.cf);
      EXPECT_EQ(FLAGS_inject, "user,item");
      EXPECT_EQ(FLAGS_trial_epochs, 40);
      EXPECT_DOUBLE_EQ(FLAGS_lr, 5e-5);
      return absl::OkStatus();
    });
    EXPECT_EQ(outcome.code, 0) << row.name << outcome.err;
  }
}

}  // namespace
}  // namespace mixrec::launch
