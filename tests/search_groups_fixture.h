// Searches by real processes, a scheduler and worker groups, on a minute data set.
//
// MIXREC_GROUPS_DATA and MIXREC_GROUPS_BACKBONE name others than the minute ones made here,
// MIXREC_GROUPS_TRIALS the number of trials, MIXREC_GROUPS_KILLS how many groups are killed,
// MIXREC_GROUPS_FLAGS the flags of a trial, MIXREC_GROUPS_SEED what is drawn.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "common/file.h"
#include "common/status.h"
#include "scheduler/journal.h"
#include "scheduler/lease.h"
#include "tests/ps_process_fixture.h"

namespace mixrec {

using scheduler::StudyRecord;
using scheduler::TrialRecord;
using scheduler::TrialState;
using ::testing::HasSubstr;
using ::testing::Not;
using Words = std::vector<std::string>;

inline std::string Environment(const char* name, const std::string& otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr ? otherwise : value;
}
inline int Number(const char* name, int otherwise) {
  return std::stoi(Environment(name, std::to_string(otherwise)));
}

inline std::string Scratch() {
  return StrCat(::testing::TempDir(), "/search_groups_test.", ::getpid());
}
inline std::string Data() { return Environment("MIXREC_GROUPS_DATA", Scratch() + "/data"); }
inline std::string Backbone() {
  return Environment("MIXREC_GROUPS_BACKBONE", Scratch() + "/backbone");
}

inline std::unique_ptr<Process> Start(Words words, const std::string& log) {
  words.insert(words.begin(), MIXREC_PROGRAM);
  return std::make_unique<Process>(std::move(words), log);
}
inline int RunMixrec(const Words& words) {
  return Start(words, Scratch() + "/errors")->Wait(In(600)).value_or(-1);
}

// What every process of the search is told of a trial.
inline Words TrialFlags() {
  Words words{"--data=" + Data(), "--backbone=" + Backbone(),
              "--trials=" + std::to_string(Number("MIXREC_GROUPS_TRIALS", 8))};
  std::istringstream flags(Environment("MIXREC_GROUPS_FLAGS",
                                       "--trial_epochs=2 --bo_fraction=.5 --batch=4 --n_cl=1 "
                                       "--lr=1e-3 --bottleneck=4"));
  for (std::string flag; flags >> flag;) words.push_back(flag);
  return words;
}
inline Words With(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

inline StudyRecord Record(const std::string& study) {
  const auto record = scheduler::ReadJournal(study + "/study.journal");
  return record.ok() ? *record : StudyRecord();
}
inline int Finished(const StudyRecord& study) {
  int finished = 0;
  for (const TrialRecord& trial : study.trials) finished += trial.finished();
  return finished;
}

inline int Attempts(const StudyRecord& study) {
  int attempts = 0;
  for (const TrialRecord& trial : study.trials) attempts += scheduler::LeaseOf(trial).attempt;
  return attempts;
}

// How many records of the journal end a trial.
inline int Ends(const std::string& study) {
  std::istringstream lines(ReadFile(study + "/study.journal").value_or(""));
  int ends = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto record = nlohmann::json::parse(line);
    ends += record.at("op_code") == 6 && record.at("state") != 0;  // 6: a trial's state, 0: running
  }
  return ends;
}

class SearchGroups : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::filesystem::remove_all(Scratch());
    ASSERT_TRUE(MakeFolder(Scratch()).ok());
    if (std::getenv("MIXREC_GROUPS_DATA") != nullptr) return;
    ASSERT_EQ(RunMixrec({"synth", "--user_count=80", "--item_count=40", "--out=" + Data()}), 0);
    ASSERT_EQ(
        RunMixrec({"pretrain", "--data=" + Data(), "--out=" + Backbone(), "--tokenizer=train:400",
                   "--hidden=32", "--layers=2", "--epochs=1", "--batch=4", "--threads=1"}),
        0);
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(Scratch()); }
};

}  // namespace mixrec
