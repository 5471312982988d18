// A child process that runs a command of this program and prints into a file.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"

namespace mixrec::launch {

struct ChildCommand {
  std::vector<std::string> words;  // without the program's name
  std::string log;                 // stdout and stderr are appended here
  std::string visible_devices;     // CUDA_VISIBLE_DEVICES; empty: as it is
  // What starts the program, once or several times, as mpirun with its options; empty: nothing.
  std::vector<std::string> launcher = {};
  int stop_signal = SIGTERM;  // asks it to stop
};

// Killed and reaped when destroyed while it runs. It leads a process group of its own, so that a
// Ctrl-C reaches the parent alone, and is asked to stop when the thread that started it ends.
class ChildProcess {
 public:
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(const ChildCommand& command);
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess();

  // Readable once it has ended: for poll().
  int handle() const { return handle_; }
  void AskToStop() const { Signal(command_.stop_signal); }
  void Signal(int signal) const;
  // Whether it has ended; then `*outcome` says how, as of TaskEnd (tasks.h).
  bool HasEnded(absl::Status* outcome);

 private:
  ChildProcess(pid_t pid, int handle, ChildCommand command)
      : pid_(pid), handle_(handle), command_(std::move(command)) {}

  pid_t pid_;
  int handle_;
  ChildCommand command_;
};

}  // namespace mixrec::launch
