#include "launch/run_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "common/file.h"
#include "launch/flag_line.h"
#include "launch/flag_reader.h"
#include "launch/verbs.h"

namespace mixrec::launch {
namespace {

using ::testing::HasSubstr;

RunRequest Request(const std::string& name) {
  RunRequest request;
  request.folder = ::testing::TempDir() + "/run_folder_test/" + name;
  request.verb = "train";
  request.arguments = {"train", "--lr=0.1"};
  request.flags = {{"lr", "0.1"}, {"batch", "6"}, {"out", request.folder}, {"threads", "2"}};
  request.inputs = {{"data", {"some/data", "1111"}}, {"backbone", {"some/opt", "2222"}}};
  std::filesystem::remove_all(request.folder);
  return request;
}

std::string ErrorOf(const RunRequest& request, ExitCode code) {
  const auto run = RunFolder::Open(request);
  EXPECT_FALSE(run.ok());
  EXPECT_EQ(ExitCodeOf(run.status()), code);
  return StatusText(run.status());
}

// Opens and closes a run, so that a later one finds it.
void FinishOne(const RunRequest& request, const absl::Status& status = absl::OkStatus()) {
  auto run = RunFolder::Open(request);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_FALSE(run->continues());
  EXPECT_EQ(run->Close(status), status);
}

TEST(RunFolder, RecordsWhatRanAndHowItEnded) {
  const RunRequest request = Request("record");
  FinishOne(request, StoppedError("at step 7"));
  const auto record = ReadRunRecord(request.folder).value();
  EXPECT_EQ(record["command"], "train");
  EXPECT_EQ(record["argv"][1], "--lr=0.1");
  EXPECT_EQ(record["flags"]["batch"], "6");
  EXPECT_EQ(record["inputs"]["data"]["hash"], "1111");
  EXPECT_TRUE(
      std::filesystem::path(record["inputs"]["data"]["path"].get<std::string>()).is_absolute());
  EXPECT_EQ(record["config_hash"], ConfigHash(request));
  EXPECT_EQ(record["state"], "stopped");
  EXPECT_EQ(record["exit_code"], 75);
  for (const char* key : {"version", "git", "build", "host", "started", "finished"}) {
    EXPECT_TRUE(record.contains(key)) << key;
  }
}

TEST(RunFolder, ResolvedFlagsReadBackAsAFlagFile) {
  RunRequest request = Request("resolved");
  request.flags["title_field"] = "a # strange \"name\"";
  FinishOne(request);
  const auto flags =
      ReadFlagFile(MakeFlagTable(Verbs(), "train"), "train", request.folder + "/flags.resolved");
  ASSERT_TRUE(flags.ok()) << flags.status();
  std::map<std::string, std::string> values;
  for (const FlagAssignment& flag : *flags) values[flag.name] = flag.value;
  EXPECT_EQ(values, request.flags);
}

TEST(RunFolder, TheSameCommandGoesOn) {
  RunRequest request = Request("same");
  FinishOne(request, StoppedError("stop"));
  request.flags["threads"] = "8";                  // says how, not what
  request.inputs["data"].path = "elsewhere/data";  // the same content at another place
  auto run = RunFolder::Open(request);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_TRUE(run->continues());
  EXPECT_EQ(ReadRunRecord(request.folder).value()["starts"], 2);
}

TEST(RunFolder, ARunKeepsItsNameAndNoOtherHasIt) {
  RunRequest request = Request("named");
  const auto name = [](const RunRequest& of) {
    auto run = RunFolder::Open(of);
    EXPECT_TRUE(run.ok()) << run.status();
    return run.ok() ? run->id() : "";
  };
  const std::string first = name(request);
  EXPECT_NE(first, "");
  request.flags["ps"] = "localhost:7000";  // says where, not what
  EXPECT_EQ(name(request), first);
  request.resume = "none";
  EXPECT_NE(name(request), first);
  EXPECT_NE(name(Request("named_otherwise")), first);
}

TEST(RunFolder, OtherFlagsAreRefusedWithTheirDifference) {
  RunRequest request = Request("other");
  FinishOne(request);
  request.flags["lr"] = "0.2";
  const std::string error = ErrorOf(request, kExitUsage);
  EXPECT_THAT(error, HasSubstr("--lr is \"0.1\" there and \"0.2\" here"));
  EXPECT_THAT(error, ::testing::Not(HasSubstr("--batch")));
  request.resume_allow = "batch,lr";
  EXPECT_TRUE(RunFolder::Open(request).value().continues());
}

TEST(RunFolder, OtherDataIsRefused) {
  RunRequest request = Request("data");
  FinishOne(request);
  request.inputs["data"].hash = "3333";
  EXPECT_THAT(ErrorOf(request, kExitData), HasSubstr("hash 3333"));
}

TEST(RunFolder, AnInputThatIsMissingNowIsRefused) {
  RunRequest request = Request("missing_input");
  request.inputs["hard_samples"] = {"some/sets", "4444"};
  FinishOne(request);
  request.inputs.erase("hard_samples");
  EXPECT_THAT(ErrorOf(request, kExitData), HasSubstr("--hard_samples="));
}

TEST(RunFolder, ARunOfAnotherCommandIsRefused) {
  RunRequest request = Request("command");
  FinishOne(request);
  request.verb = "search";
  EXPECT_THAT(ErrorOf(request, kExitUsage), HasSubstr("holds a run of `mixrec train`"));
}

TEST(RunFolder, TheBudgetOfASearchMayGrow) {
  RunRequest request = Request("budget");
  request.verb = "search";
  request.flags["trials"] = "10";
  FinishOne(request);
  request.flags["trials"] = "20";
  EXPECT_TRUE(RunFolder::Open(request).value().continues());
}

TEST(RunFolder, StartingAfreshKeepsTheOldRunAside) {
  RunRequest request = Request("afresh");
  FinishOne(request);
  ASSERT_TRUE(WriteFileAtomic(request.folder + "/metrics.jsonl", "old").ok());
  request.flags["lr"] = "0.2";
  request.resume = "none";
  EXPECT_FALSE(RunFolder::Open(request).value().continues());
  EXPECT_FALSE(PathExists(request.folder + "/metrics.jsonl"));
  EXPECT_EQ(ReadFile(request.folder + "/previous.1/metrics.jsonl").value(), "old");
}

TEST(RunFolder, TwoProcessesDoNotWriteOneRun) {
  const RunRequest request = Request("locked");
  const auto first = RunFolder::Open(request);
  ASSERT_TRUE(first.ok());
  EXPECT_THAT(ErrorOf(request, kExitFailure), HasSubstr("is in use by process "));
}

TEST(RunFolder, ADamagedRecordIsADataError) {
  const RunRequest request = Request("damaged");
  FinishOne(request);
  ASSERT_TRUE(WriteFileAtomic(request.folder + "/run.json", "{\"format\": 1").ok());
  EXPECT_THAT(ErrorOf(request, kExitData), HasSubstr("damaged"));
}

}  // namespace
}  // namespace mixrec::launch
