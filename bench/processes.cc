#include "bench/processes.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <ctime>
#include <utility>

namespace mixrec::bench {
namespace {

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

void Speaker::Say(const std::string& line) {
  const std::string text = line + "\n";
  // Shorter than PIPE_BUF, so whole or not at all; a parent that is gone needs no answer.
  [[maybe_unused]] const ssize_t written = ::write(fd_, text.data(), text.size());
}

absl::StatusOr<std::unique_ptr<Child>> Child::Start(std::function<void(Speaker*)> function) {
  int ends[2];
  if (::pipe(ends) != 0) return FailureError("cannot make a pipe: ", std::strerror(errno));
  const pid_t pid = ::fork();
  if (pid < 0) {
    ::close(ends[0]);
    ::close(ends[1]);
    return FailureError("cannot start a process: ", std::strerror(errno));
  }
  if (pid == 0) {
    ::close(ends[0]);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // nobody serves for a benchmark that was killed
    std::signal(SIGPIPE, SIG_IGN);
    Speaker speaker(ends[1]);
    function(&speaker);
    ::_exit(0);
  }
  ::close(ends[1]);
  return std::unique_ptr<Child>(new Child(pid, ends[0]));
}

Child::~Child() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  ::close(fd_);
}

absl::StatusOr<std::string> Child::Listen(double seconds) {
  const double end = Now() + seconds;
  while (heard_.find('\n') == std::string::npos) {
    pollfd item{fd_, POLLIN, 0};
    const double left = end - Now();
    if (left <= 0) return FailureError("a process of the benchmark is silent (pid ", pid_, ")");
    if (::poll(&item, 1, static_cast<int>(left * 1000) + 1) <= 0) continue;
    char bytes[4096];
    const ssize_t got = ::read(fd_, bytes, sizeof(bytes));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return FailureError("a process of the benchmark has ended (pid ", pid_, ")");
    heard_.append(bytes, static_cast<size_t>(got));
  }
  const size_t newline = heard_.find('\n');
  std::string line = heard_.substr(0, newline);
  heard_.erase(0, newline + 1);
  return line;
}

double CpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double CpuSecondsOf(pid_t pid) {
  clockid_t clock{};
  timespec time{};
  if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &time) != 0) return 0;
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace mixrec::bench
