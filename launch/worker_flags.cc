#include "launch/worker_flags.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>

#include "common/stop_signal.h"

namespace mixrec::launch {
namespace {

bool IsOfTheMachine(const std::string& flag) {
  for (const char* name : {"device", "threads", "log_level"}) {
    if (flag == name) return true;
  }
  return false;
}

// What a trial is: the flags of a training, and how much of it a trial is.
bool IsOfTheTrial(const FlagTable& table, const std::string& flag) {
  if (flag == "trial_epochs" || flag == "bo_fraction") return true;
  for (const char* name : {"out", "resume", "resume_allow", "dry_run", "max_walltime",
                           "stop_signal", "simulate_preemption"}) {
    if (flag == name) return false;
  }
  return table.Takes("train", flag);
}

}  // namespace

void TakeStudyFlags(const Invocation& invocation, const StudyBrief& brief) {
  std::map<std::string, std::string> values;
  for (const auto& [name, value] : brief.flags) {
    const bool known = invocation.table->Find(name) != nullptr;
    if (!known || !IsOfTheTrial(*invocation.table, name)) continue;
    if (IsOfTheMachine(name) || invocation.IsGiven(name)) continue;
    values[name] = value;
  }
  SetFlags(values);
}

void EndWithParent(int64_t parent) {
  if (parent == 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) RequestStop();  // it has died already
}

}  // namespace mixrec::launch
