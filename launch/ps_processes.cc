#include "launch/ps_processes.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

#include "common/file.h"
#include "common/log.h"

namespace mixrec::launch {
namespace {

constexpr char kProgram[] = "/proc/self/exe";
constexpr net::Time kSoon = 10 * net::kSecond;  // a death so soon after the start is a failure
constexpr net::Time kFirstPause = 250 * net::kMillisecond, kLongestPause = 30 * net::kSecond;
constexpr auto kGrace = std::chrono::seconds(5);
constexpr auto kPoll = std::chrono::milliseconds(20);

uint64_t WallClockMicros() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(since).count());
}

std::string IncarnationFlag(uint64_t incarnation) { return StrCat("--incarnation=", incarnation); }

// Whether the process is there and the one that was started: its number may be another's by now.
bool Lives(const ShardProcess& process) {
  const absl::StatusOr<std::string> line = ReadFile(StrCat("/proc/", process.pid, "/cmdline"));
  const std::string flag = IncarnationFlag(process.incarnation) + '\0';
  return line.ok() && line->find(flag) != std::string::npos;
}

std::string HowItEnded(int status) {
  if (WIFSIGNALED(status)) return StrCat("was killed by signal ", WTERMSIG(status));
  return StrCat("ended with code ", WEXITSTATUS(status));
}

net::Time Pause(int failures) {
  if (failures == 0) return 0;
  return std::min(kFirstPause << std::min(failures - 1, 10), kLongestPause);
}

}  // namespace

ShardProcesses::ShardProcesses(ShardProcessOptions options,
                               const std::vector<ShardProcess>& earlier)
    : options_(std::move(options)) {
  for (const ShardProcess& process : earlier) {
    last_incarnation_ = std::max(last_incarnation_, process.incarnation);
    if (Lives(process)) places_.push_back({process, false, 0, 0});
  }
  adopted_ = static_cast<int>(places_.size());
  places_.resize(std::max(places_.size(), static_cast<size_t>(options_.count)));
}

ShardProcesses::~ShardProcesses() { End(); }

pid_t ShardProcesses::PidOf(uint64_t incarnation) const {
  for (const Place& place : places_) {
    if (place.process.incarnation == incarnation) return place.process.pid;
  }
  return 0;
}

bool ShardProcesses::HasEnded(const Place& place, std::string* how) {
  if (!place.is_child) {
    *how = "is gone";
    return !Lives(place.process);
  }
  int status = 0;
  const bool ended = ::waitpid(place.process.pid, &status, WNOHANG) != 0;
  if (ended) *how = HowItEnded(status);
  return ended;
}

void ShardProcesses::Maintain(net::Time now) {
  for (size_t index = 0; index < places_.size(); ++index) {
    Place& place = places_[index];
    std::string how;
    if (place.process.pid != 0 && HasEnded(place, &how)) {
      const bool soon = place.is_child && now - place.started < kSoon;
      place.failures = soon ? place.failures + 1 : 0;
      place.started = now + Pause(place.failures);
      LOG(WARNING) << "shard process " << place.process.pid << " " << how;
      place.process.pid = 0;
    }
    if (place.process.pid == 0 && now >= place.started) Start(index, now);
  }
}

void ShardProcesses::Start(size_t index, net::Time now) {
  Place& place = places_[index];
  place.is_child = true;
  place.process.incarnation = last_incarnation_ =
      std::max(WallClockMicros(), last_incarnation_ + 1);
  const absl::StatusOr<pid_t> pid = Spawn(place.process.incarnation, index);
  if (!pid.ok()) {
    place.started = now + Pause(++place.failures);
    LOG(ERROR) << pid.status().message();
    return;
  }
  place.process.pid = *pid;
  place.started = now;
  LOG(INFO) << "shard process " << *pid << " started";
  if (!options_.journal) return;
  const absl::Status status = options_.journal(place.process);
  LOG_IF(ERROR, !status.ok()) << status.message();
}

absl::StatusOr<pid_t> ShardProcesses::Spawn(uint64_t incarnation, size_t index) const {
  std::vector<std::string> words{"mixrec"};
  words.insert(words.end(), options_.arguments.begin(), options_.arguments.end());
  words.push_back(IncarnationFlag(incarnation));
  if (options_.gpus > 0) {
    words.push_back(StrCat("--gpu=", (static_cast<size_t>(options_.first_gpu) + index) %
                                         static_cast<size_t>(options_.gpus)));
  }
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  // stdout is for the parent's results.
  posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // A group of its own: Ctrl-C is for the parent, which ends its children.
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, kProgram, &files, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return FailureError("cannot start a shard process: ", std::strerror(error));
  return pid;
}

void ShardProcesses::End() {
  for (const Place& place : places_) {
    if (place.process.pid == 0 || !(place.is_child || Lives(place.process))) continue;
    ::kill(place.process.pid, options_.stop_signal);
    ::kill(place.process.pid, SIGCONT);  // a stopped one would not hear it
  }
  const auto until = std::chrono::steady_clock::now() + kGrace;
  for (Place& place : places_) {
    std::string how;
    while (place.process.pid != 0 && !HasEnded(place, &how)) {
      if (std::chrono::steady_clock::now() > until) ::kill(place.process.pid, SIGKILL);
      std::this_thread::sleep_for(kPoll);
    }
    place.process.pid = 0;
  }
}

}  // namespace mixrec::launch
