// Child processes of a benchmark, which run a function of this program and say what came of it.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"

namespace mixrec::bench {

// The child's end of a line to its parent.
class Speaker {
 public:
  explicit Speaker(int fd) : fd_(fd) {}
  // One message, without newlines.
  void Say(const std::string& line);

 private:
  int fd_;
};

// Killed and reaped when destroyed. To be made before this process has threads that the function
// needs: a forked child has only the thread that forked.
class Child {
 public:
  static absl::StatusOr<std::unique_ptr<Child>> Start(std::function<void(Speaker*)> function);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  pid_t pid() const { return pid_; }
  // What it says next; a FailureError when it ends or is silent for so long.
  absl::StatusOr<std::string> Listen(double seconds);

 private:
  Child(pid_t pid, int fd) : pid_(pid), fd_(fd) {}

  pid_t pid_;
  int fd_;
  std::string heard_;
};

// User and system time of this process.
double CpuSeconds();
// Of another one of this user's; 0 when there is none.
double CpuSecondsOf(pid_t pid);

}  // namespace mixrec::bench
