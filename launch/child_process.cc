#include "launch/child_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "common/file.h"

namespace mixrec::launch {
namespace {

constexpr char kProgram[] = "/proc/self/exe";

// The last line of a log that is not blank; of a progress line that was written over, its end.
std::string LastLine(const std::string& path) {
  std::string text = ReadFile(path).value_or("");
  absl::StripTrailingAsciiWhitespace(&text);
  return text.substr(text.find_last_of("\r\n") + 1);
}

// The signal that killed the program; 0: none did. mpirun ends with 128 + that of a rank.
int KillerOf(int status, const ChildCommand& command) {
  if (WIFSIGNALED(status)) return WTERMSIG(status);
  return command.launcher.empty() ? 0 : std::max(0, WEXITSTATUS(status) - 128);
}

absl::Status StatusOf(int status, const ChildCommand& command) {
  const std::string what = StrCat("mixrec ", command.words.front());
  if (const int signal = KillerOf(status, command); signal != 0) {
    return FailureError(command.launcher.empty() ? "" : "a process of ", what,
                        " was killed by signal ", signal, " (", ::strsignal(signal), "); see ",
                        command.log);
  }
  const std::string last = LastLine(command.log);
  const std::string reason =
      last.rfind(what, 0) == 0 ? last : StrCat(what, " ended: ", last, "; see ", command.log);
  switch (WEXITSTATUS(status)) {
    case kExitDone:
      return absl::OkStatus();
    case kExitUsage:
      return UsageError(reason);
    case kExitData:
      return DataError(reason);
    case kExitMemory:
      return MemoryError(reason);
    case kExitStopped:
      return StoppedError(reason);
    default:
      return FailureError(reason);
  }
}

// In the child, between fork and exec: only calls that are safe there.
[[noreturn]] void Become(const char* program, const std::vector<char*>& argv, int log,
                         const ChildCommand& command) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, command.stop_signal);
  const int input = ::open("/dev/null", O_RDONLY);
  ::dup2(input, STDIN_FILENO);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  if (!command.visible_devices.empty()) {
    ::setenv("CUDA_VISIBLE_DEVICES", command.visible_devices.c_str(), 1);
  }
  ::execvp(program, argv.data());
  ::_exit(127);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(const ChildCommand& command) {
  const int log = ::open(command.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (log < 0) return FailureError("cannot write ", command.log, ": ", std::strerror(errno));
  std::vector<std::string> words = command.launcher;
  words.push_back("mixrec");
  if (!command.launcher.empty()) {
    std::error_code error;  // of the file behind it: a launcher starts processes of its own
    words.back() = std::filesystem::read_symlink(kProgram, error).string();
  }
  words.insert(words.end(), command.words.begin(), command.words.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  const char* const program = command.launcher.empty() ? kProgram : argv.front();
  if (pid == 0) Become(program, argv, log, command);
  ::close(log);
  if (pid < 0) return FailureError("cannot start a process: ", std::strerror(errno));
  const auto handle = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (handle < 0) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return FailureError("cannot watch a process: ", std::strerror(errno));
  }
  return std::unique_ptr<ChildProcess>(new ChildProcess(pid, handle, command));
}

ChildProcess::~ChildProcess() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  ::close(handle_);
}

void ChildProcess::Signal(int signal) const {
  if (pid_ > 0) ::kill(pid_, signal);
}

bool ChildProcess::HasEnded(absl::Status* outcome) {
  int status = 0;
  const pid_t ended = ::waitpid(pid_, &status, WNOHANG);
  if (ended == 0) return false;
  *outcome = ended == pid_ ? StatusOf(status, command_)
                           : FailureError("a process was lost: ", std::strerror(errno));
  pid_ = 0;
  return true;
}

}  // namespace mixrec::launch
