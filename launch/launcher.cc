#include "launch/launcher.h"

#include <unistd.h>

#include <cstdlib>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "common/file.h"
#include "common/log.h"

namespace mixrec::launch {
namespace {

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool IsLaunchers(std::string_view entry) {
  return entry.rfind("OMPI_", 0) == 0 || entry.rfind("PMIX_", 0) == 0;
}

// Writes a line into the launcher's file, or one beside it, if it named one.
void Tell(std::string_view beside, std::string_view line) {
  const std::string path = Environment("MIXREC_EXIT_FILE");
  if (path.empty()) return;
  const absl::Status status = WriteFileAtomic(StrCat(path, beside), StrCat(line, "\n"));
  if (!status.ok()) LOG(WARNING) << "the launcher is not told: " << status.message();
}

}  // namespace

// OpenMPI numbers the processes command by command.
bool IsFirstOfCommand() {
  const std::string rank = Environment("OMPI_COMM_WORLD_RANK");
  if (rank.empty()) return true;
  std::istringstream counts(Environment("OMPI_APP_CTX_NUM_PROCS"));
  int first = 0;
  for (int count = 0; counts >> count; first += count) {
    if (std::to_string(first) == rank) return true;
  }
  return rank == "0";
}

int ProcessesOfLauncher() { return std::atoi(Environment("OMPI_COMM_WORLD_SIZE").c_str()); }

void ForgetLauncher() {
  std::vector<std::string> names;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (IsLaunchers(text)) names.emplace_back(text.substr(0, text.find('=')));
  }
  for (const std::string& name : names) ::unsetenv(name.c_str());
}

void TellLauncherOfBegin() {
  if (IsFirstOfCommand()) Tell(".begun", "begun");
}

void TellLauncher(int code) { Tell(IsFirstOfCommand() ? "" : ".other", StrCat(code)); }

}  // namespace mixrec::launch
