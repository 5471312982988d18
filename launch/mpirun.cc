#include "launch/mpirun.h"

#include <unistd.h>

#include <cstdlib>
#include <sstream>

namespace mixrec::launch {
namespace {

constexpr char kMpirun[] = "mpirun";

bool IsInPath(const std::string& program) {
  const char* const path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (::access(StrCat(folder, "/", program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

}  // namespace

std::vector<std::string> MpirunOf(int ranks) {
  // --quiet: no page of advice behind the command's own last line.
  std::vector<std::string> words = {kMpirun, "--quiet",        "-n", StrCat(ranks), "--bind-to",
                                    "none",  "--oversubscribe"};
  // Within an allocation of several hosts, too.
  words.insert(words.end(), {"--host", StrCat("localhost:", ranks)});
  if (::geteuid() == 0) words.emplace_back("--allow-run-as-root");
  return words;
}

absl::Status CheckMpirun(const std::string& flag) {
  if (IsInPath(kMpirun)) return absl::OkStatus();
  return UsageError(flag, " starts processes by ", kMpirun,
                    ", which is not in PATH; install OpenMPI (openmpi-bin), or leave the flag out");
}

}  // namespace mixrec::launch
