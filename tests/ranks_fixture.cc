#include "tests/ranks_fixture.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "common/file.h"

namespace mixrec {
namespace {

namespace fs = std::filesystem;
constexpr auto kPoll = std::chrono::milliseconds(20);

}  // namespace

Outcome Shell(const std::string& command) {
  return RunInShell(StrCat("timeout -k 5 120 bash -c '", command, "'"),
                    RanksWorld::Path(StrCat("stderr.", ::getpid())));
}

int CountOf(const std::string& part, const std::string& text) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

std::string RanksWorld::Path(const std::string& name) {
  return StrCat(::testing::TempDir(), "/ranks.", ::getpid(), name.empty() ? "" : "/", name);
}

void RanksWorld::SetUp() {
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", /*overwrite=*/1);
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", /*overwrite=*/1);
  fs::remove_all(Path());
  ASSERT_TRUE(MakeFolder(Path()).ok());
  const Outcome synth =
      Shell(Program(StrCat("synth --user_count=60 --item_count=40 --out=", Data())));
  ASSERT_EQ(synth.code, 0) << synth.err;
  const Outcome pretrain = Shell(
      Program(StrCat("pretrain --data=", Data(), " --out=", Backbone(),
                     " --tokenizer=train:400 --hidden=32 --layers=2 --epochs=0 --threads=1")));
  ASSERT_EQ(pretrain.code, 0) << pretrain.err;
}

void RanksWorld::TearDown() { fs::remove_all(Path()); }

std::string RanksWorld::Program(const std::string& arguments) {
  return StrCat(MIXREC_PROGRAM, " ", arguments);
}

std::string RanksWorld::Mpirun(const std::string& options) {
  return StrCat("mpirun --oversubscribe --bind-to none ", options);
}

std::string RanksWorld::Train(const std::string& run, const std::string& more) {
  return Program(StrCat("train --data=", Data(), " --backbone=", Backbone(), " --out=", run,
                        " --batch=8 --n_cl=1 --lr=1e-3 --bottleneck=4 --device=cpu --threads=1",
                        " --log_steps=1 --log_level=error ", more));
}

std::map<std::string, std::string> LastCheckpoint(const std::string& run) {
  std::map<std::string, std::string> files;
  const fs::path folder = run + "/checkpoints/last/";
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().lexically_relative(folder).string();
    const bool counts =
        name.find("safetensors") != std::string::npos || name.rfind("tables/", 0) == 0;
    if (counts && entry->is_regular_file()) files[name] = ReadFile(entry->path()).value_or("");
  }
  return files;
}

std::string Differences(const std::string& run, const std::string& other) {
  const auto mine = LastCheckpoint(run), others = LastCheckpoint(other);
  std::string names = mine.empty() ? "there is no checkpoint" : "";
  for (const auto* files : {&mine, &others}) {
    for (const auto& [name, content] : *files) {
      const auto& against = files == &mine ? others : mine;
      const auto found = against.find(name);
      if (found == against.end())
        names += StrCat(" only ", files == &mine ? run : other, " has ", name);
      if (found != against.end() && files == &mine && found->second != content) {
        names += StrCat(" ", name);
      }
    }
  }
  return names;
}

int LastStep(const std::string& run) {
  std::istringstream lines(ReadFile(run + "/metrics.jsonl").value_or(""));
  int step = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto record = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (record.is_object()) step = record.value("step", step);
  }
  return step;
}

bool WaitForStep(const std::string& run, int step, double seconds) {
  for (const Instant until = In(seconds); LastStep(run) < step;) {
    if (std::chrono::steady_clock::now() > until) {
      ADD_FAILURE() << run << " is at step " << LastStep(run) << " and not at " << step;
      return false;
    }
    std::this_thread::sleep_for(kPoll);
  }
  return true;
}

std::vector<pid_t> ChildrenOf(pid_t parent) {
  std::istringstream words(
      ReadFile(StrCat("/proc/", parent, "/task/", parent, "/children")).value_or(""));
  std::vector<pid_t> children;
  for (pid_t child = 0; words >> child;) children.push_back(child);
  return children;
}

std::string EnvironmentOf(pid_t process) {
  return ReadFile(StrCat("/proc/", process, "/environ")).value_or("") + '\0';
}

pid_t RankAmong(const std::vector<pid_t>& processes, int rank) {
  const std::string variable = StrCat("OMPI_COMM_WORLD_RANK=", rank) + '\0';
  for (const pid_t process : processes) {
    if (EnvironmentOf(process).find(variable) != std::string::npos) return process;
  }
  return 0;
}

std::vector<pid_t> ProcessesWith(const std::vector<std::string>& words) {
  std::vector<pid_t> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string line = ReadFile(entry.path() / "cmdline").value_or("");
    bool all = line.rfind(StrCat(MIXREC_PROGRAM) + '\0', 0) == 0 ||
               line.rfind(std::string("mixrec") + '\0', 0) == 0;
    for (const std::string& word : words) all = all && line.find(word) != std::string::npos;
    if (all) found.push_back(static_cast<pid_t>(std::stol(name)));
  }
  return found;
}

}  // namespace mixrec
