// Tasks that are sequences of commands of this program, each command a process: several at the same
// time, so that one that crashes ends its own task and no other.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/status.h"

namespace mixrec::launch {

// The words of a command, without the program's name; asked for when it is about to start.
using CommandMaker = std::function<absl::StatusOr<std::vector<std::string>>()>;

struct Task {
  std::string name;
  std::string log;  // file that gets what its commands print
  std::vector<CommandMaker> commands;
  int after = -1;  // the task that must succeed before; -1: none
};

struct TaskOptions {
  int jobs = 1;                      // tasks at the same time
  std::vector<std::string> devices;  // CUDA_VISIBLE_DEVICES of the slots in turn; empty: as it is
  double grace_seconds = 120;  // for a command to save after a stop request; then it is killed
};

// How a task ended: OK; StoppedError when a command ended with code 75; otherwise a status of the
// kind of its exit code, with the last line that it printed, or the signal that killed it.
// `seconds`: of its commands. An error returned ends all tasks.
using TaskEnd =
    std::function<absl::Status(size_t task, const absl::Status& outcome, double seconds)>;

// Runs all tasks, in order as far as slots and `after` allow; a task whose `after` failed fails
// with it. On a stop request (common/stop_signal.h) the commands get SIGTERM, and when they have
// ended, each task told by `on_end`, it returns a StoppedError. One thread; the children end with
// it, by SIGTERM, when it is killed.
absl::Status RunTasks(const std::vector<Task>& tasks, const TaskOptions& options,
                      const TaskEnd& on_end);

}  // namespace mixrec::launch
