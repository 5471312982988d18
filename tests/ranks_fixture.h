// Commands of the program by several ranks of a real mpirun, on a minute data set.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/ps_process_fixture.h"
#include "tests/shell.h"

namespace mixrec {

// Runs a shell's command line to its end; one that takes two minutes is killed.
Outcome Shell(const std::string& command);

// How often a text is in another.
int CountOf(const std::string& part, const std::string& text);

// A folder of this process with a data set and a backbone in it, made by the first who asks.
class RanksWorld {
 public:
  // "": the folder itself.
  static std::string Path(const std::string& name = "");
  static std::string Data() { return Path("data"); }
  static std::string Backbone() { return Path("backbone"); }
  // A test failure when it does not work. Removed by TearDown.
  static void SetUp();
  static void TearDown();

  // "mixrec train" with the flags of every training here.
  static std::string Train(const std::string& run, const std::string& more = "");
  static std::string Program(const std::string& arguments);
  // "mpirun OPTIONS".
  static std::string Mpirun(const std::string& options = "");
};

// The files that make up a run's last checkpoint, by name: parameters, moments, tables. Equal for
// equal trainings.
std::map<std::string, std::string> LastCheckpoint(const std::string& run);
// The names of those that differ; empty: none.
std::string Differences(const std::string& run, const std::string& other);
// The last step that metrics.jsonl tells of; 0: none.
int LastStep(const std::string& run);
// False, with a test failure, when the run does not get there in time.
bool WaitForStep(const std::string& run, int step, double seconds = 60);
// Processes of the program, in /proc, whose command lines have all these words.
std::vector<pid_t> ProcessesWith(const std::vector<std::string>& words);

// In the order of their starts, as the kernel lists them: numbers begin again at some time.
std::vector<pid_t> ChildrenOf(pid_t parent);

// Variables of a process as it was started, each with a '\0' behind it.
std::string EnvironmentOf(pid_t process);
// The one among the processes that has this rank in its mpirun; 0: there is none.
pid_t RankAmong(const std::vector<pid_t>& processes, int rank);

}  // namespace mixrec
