#include "scheduler/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <regex>

#include "common/file.h"
#include "temporary_folder.h"

namespace mixrec::scheduler {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

std::vector<json> Lines(const std::string& path) {
  std::vector<json> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(json::parse(line));
  return lines;
}

void Append(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::app | std::ios::binary) << text;
}

// A study with a complete, a failed and a running trial.
void WriteSample(const std::string& path) {
  auto journal = Journal::Open(path);
  ASSERT_TRUE(journal.ok()) << journal.status();
  ASSERT_TRUE(journal->CreateStudy("sample", true).ok());
  ASSERT_TRUE(journal->SetStudyAttribute("definition", {{"layers", 2}}).ok());
  const std::vector<TrialParameter> parameters = {{"layer00.causal", {"serial", "parallel"}, 1}};
  for (int number = 0; number < 3; ++number) {
    EXPECT_EQ(journal->CreateTrial(parameters, {{"architecture", "100"}}).value(), number);
  }
  ASSERT_TRUE(journal->SetIntermediateValue(0, 1, 0.125).ok());
  ASSERT_TRUE(journal->FinishTrial(0, TrialState::kComplete, 0.1 + 0.2, {{"seconds", 1.5}}).ok());
  ASSERT_TRUE(
      journal->FinishTrial(1, TrialState::kFailed, std::nullopt, {{"reason", "NaN loss"}}).ok());
}

TEST(Journal, RecordsHaveTheFieldsThatOptunaReads) {
  TemporaryFolder folder;
  WriteSample(folder / "study.journal");
  const std::vector<json> lines = Lines(folder / "study.journal");
  ASSERT_EQ(lines.size(), 10u);
  EXPECT_EQ(lines[0]["op_code"], 0);
  EXPECT_EQ(lines[0]["study_name"], "sample");
  EXPECT_EQ(lines[0]["directions"], json::array({2}));  // maximise
  EXPECT_EQ(lines[1]["op_code"], 2);
  EXPECT_EQ(lines[1]["study_id"], 0);
  EXPECT_EQ(lines[1]["user_attr"].size(), 1u);

  const json& trial = lines[2];
  EXPECT_EQ(trial["op_code"], 4);
  EXPECT_EQ(trial["study_id"], 0);
  EXPECT_EQ(trial["state"], 0);
  EXPECT_EQ(trial["params"]["layer00.causal"], 1);
  const json distribution =
      json::parse(trial["distributions"]["layer00.causal"].get<std::string>());
  EXPECT_EQ(distribution["name"], "CategoricalDistribution");
  EXPECT_EQ(distribution["attributes"]["choices"], json::array({"serial", "parallel"}));
  EXPECT_EQ(trial["user_attrs"]["architecture"], "100");

  EXPECT_EQ(lines[5]["op_code"], 7);
  EXPECT_EQ(lines[5]["trial_id"], 0);
  EXPECT_EQ(lines[5]["step"], 1);
  EXPECT_EQ(lines[5]["intermediate_value"], 0.125);
  EXPECT_EQ(lines[6]["op_code"], 8);
  EXPECT_EQ(lines[6]["user_attr"]["seconds"], 1.5);
  EXPECT_EQ(lines[7]["op_code"], 6);
  EXPECT_EQ(lines[7]["state"], 1);
  EXPECT_EQ(lines[7]["values"], json::array({0.1 + 0.2}));
  EXPECT_EQ(lines[9]["state"], 3);
  EXPECT_TRUE(lines[9]["values"].is_null());

  const std::regex utc(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00)");
  EXPECT_TRUE(std::regex_match(trial["datetime_start"].get<std::string>(), utc));
  EXPECT_TRUE(std::regex_match(lines[7]["datetime_complete"].get<std::string>(), utc));
  for (const json& line : lines) EXPECT_TRUE(line["worker_id"].is_string());
}

TEST(Journal, ReplayGivesWhatTheWriterHeld) {
  TemporaryFolder folder;
  WriteSample(folder / "study.journal");
  const auto study = ReadJournal(folder / "study.journal");
  ASSERT_TRUE(study.ok()) << study.status();
  EXPECT_EQ(study->name, "sample");
  EXPECT_TRUE(study->maximise);
  ASSERT_EQ(study->trials.size(), 3u);
  EXPECT_EQ(study->trials[0].state, TrialState::kComplete);
  EXPECT_EQ(study->trials[0].value, 0.1 + 0.2);  // to the last bit
  EXPECT_EQ(study->trials[0].intermediate_values.at(1), 0.125);
  EXPECT_EQ(study->trials[0].Number("seconds"), 1.5);
  EXPECT_EQ(study->trials[0].parameters.at(0).index, 1);
  EXPECT_LT(study->trials[2].created_at, study->trials[0].finished_at);
  EXPECT_EQ(study->trials[1].state, TrialState::kFailed);
  EXPECT_EQ(study->trials[1].Text("reason"), "NaN loss");
  EXPECT_EQ(study->trials[2].state, TrialState::kRunning);
  ASSERT_EQ(study->Ranked().size(), 1u);
  EXPECT_EQ(study->Ranked()[0]->number, 0);
}

TEST(Journal, TornTailIsIgnoredByReadersAndCutOffByTheWriter) {
  TemporaryFolder folder;
  const std::string path = folder / "study.journal";
  WriteSample(path);
  const std::string whole = ReadFile(path).value();
  Append(path, R"({"op_code":6,"trial_id":2,"sta)");
  const auto read = ReadJournal(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->records, 10);
  {
    auto journal = Journal::Open(path);
    ASSERT_TRUE(journal.ok()) << journal.status();
    EXPECT_EQ(ReadFile(path).value(), whole);
    ASSERT_TRUE(journal->FinishTrial(2, TrialState::kComplete, 0.5, {}).ok());
  }
  EXPECT_EQ(ReadJournal(path)->Ranked().size(), 2u);
}

TEST(Journal, ZerosInPlaceOfTheLastRecordAreATornTail) {
  TemporaryFolder folder;
  const std::string path = folder / "study.journal";
  WriteSample(path);
  Append(path, std::string(40, '\0') + "\n");
  EXPECT_TRUE(ReadJournal(path).ok());
}

TEST(Journal, DamageBeforeTheTailIsAnErrorThatNamesTheLine) {
  TemporaryFolder folder;
  const std::string path = folder / "study.journal";
  WriteSample(path);
  std::string text = ReadFile(path).value();
  text.insert(text.find('\n') + 1, "garbage\n");
  ASSERT_TRUE(WriteFileAtomic(path, text).ok());
  const auto study = ReadJournal(path);
  EXPECT_EQ(ExitCodeOf(study.status()), kExitData);
  EXPECT_THAT(std::string(study.status().message()), HasSubstr("study.journal:2:"));
}

TEST(Journal, RecordWithoutItsFieldsIsAnErrorThatNamesTheLine) {
  const std::string text =
      "{\"op_code\":0,\"study_name\":\"a\",\"directions\":[2]}\n{\"op_code\":6,\"trial_id\":7}\n\n";
  const auto study = ReplayJournal(text, "x.journal");
  EXPECT_EQ(ExitCodeOf(study.status()), kExitData);
  EXPECT_THAT(std::string(study.status().message()), HasSubstr("x.journal:2:"));
}

TEST(Journal, SecondWriterIsRefused) {
  TemporaryFolder folder;
  auto first = Journal::Open(folder / "study.journal");
  ASSERT_TRUE(first.ok());
  const auto second = Journal::Open(folder / "study.journal");
  EXPECT_EQ(ExitCodeOf(second.status()), kExitFailure);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("another process is writing"));
  { const Journal closed = std::move(*first); }
  EXPECT_TRUE(Journal::Open(folder / "study.journal").ok());
}

TEST(Journal, RecordsOfADashboardAreReadOver) {
  TemporaryFolder folder;
  const std::string path = folder / "study.journal";
  WriteSample(path);
  Append(path,
         "{\"op_code\":3,\"worker_id\":\"d\",\"study_id\":0,\"system_attr\":{\"note\":\"x\"}}\n");
  const auto study = ReadJournal(path);
  ASSERT_TRUE(study.ok()) << study.status();
  EXPECT_EQ(study->records, 11);
}

}  // namespace
}  // namespace mixrec::scheduler
