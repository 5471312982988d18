#include "collective/process_life.h"

#include <unistd.h>

#include <sstream>
#include <string>

#include "common/file.h"
#include "common/status.h"

namespace mixrec::collective {
namespace {

struct Stat {
  char state = 'X';
  int64_t start_time = 0;
};

// Fields 3 and 22 of /proc/PID/stat (proc(5)); the second, a name in brackets, may hold anything.
Stat ReadStat(int64_t pid) {
  Stat stat;
  const absl::StatusOr<std::string> line = ReadFile(StrCat("/proc/", pid, "/stat"));
  if (!line.ok()) return stat;
  const size_t bracket = line->rfind(')');
  if (bracket == std::string::npos) return stat;
  std::istringstream fields(line->substr(bracket + 1));
  fields >> stat.state;
  std::string skipped;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  fields >> stat.start_time;
  return stat;
}

}  // namespace

ProcessId ThisProcess() { return {::getpid(), ReadStat(::getpid()).start_time}; }

bool Lives(const ProcessId& process) {
  const Stat stat = ReadStat(process.pid);
  return stat.state != 'Z' && stat.state != 'X' && stat.start_time == process.start_time;
}

}  // namespace mixrec::collective
