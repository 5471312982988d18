#include "tests/ps_process_fixture.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "common/file.h"

namespace mixrec {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

bool WaitReadable(int fd, Instant until) {
  const auto left = duration_cast<milliseconds>(until - steady_clock::now()).count();
  pollfd item{fd, POLLIN, 0};
  return ::poll(&item, 1, static_cast<int>(std::clamp<int64_t>(left, 0, 600000))) > 0;
}

}  // namespace

Instant In(double seconds) {
  return steady_clock::now() +
         duration_cast<steady_clock::duration>(std::chrono::duration<double>(seconds));
}

int FreePort() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

bool IsRunning(pid_t pid) {
  const auto stat = ReadFile(StrCat("/proc/", pid, "/stat"));
  if (!stat.ok()) return false;
  const char state = stat->at(stat->rfind(')') + 2);
  return state != 'Z' && state != 'T' && state != 'X';
}

bool WaitForEndOf(pid_t pid, Instant until) {
  const int handle = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  const bool ended = handle < 0 || WaitReadable(handle, until);
  if (handle >= 0) ::close(handle);
  return ended;
}

Process::Process(std::vector<std::string> words, const std::string& error_file) {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, error_file.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0644);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  EXPECT_EQ(::posix_spawn(&pid_, argv[0], &files, nullptr, argv.data(), environ), 0) << words[0];
  posix_spawn_file_actions_destroy(&files);
  ::close(ends[1]);
  output_ = ends[0];
  handle_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
}

Process::~Process() {
  Signal(SIGKILL);
  Wait(In(10));
  ::close(output_);
  ::close(handle_);
}

void Process::Signal(int signal) const {
  if (!code_) ::kill(pid_, signal);
}

std::optional<std::string> Process::ReadLine(Instant until) {
  while (true) {
    const size_t end = unread_.find('\n');
    if (end != std::string::npos) {
      std::string line = unread_.substr(0, end);
      unread_.erase(0, end + 1);
      return line;
    }
    char buffer[4096];
    if (!WaitReadable(output_, until)) return std::nullopt;
    const ssize_t got = ::read(output_, buffer, sizeof(buffer));
    if (got <= 0) return std::nullopt;
    unread_.append(buffer, static_cast<size_t>(got));
  }
}

std::optional<int> Process::Wait(Instant until) {
  if (code_ || !WaitReadable(handle_, until)) return code_;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) == pid_) {
    code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  return code_;
}

Servers::Servers(std::vector<std::string> flags, const std::string& folder)
    : words_{MIXREC_PROGRAM, "ps"},
      address_(StrCat("127.0.0.1:", FreePort())),
      log_(folder + "/servers.log") {
  words_.push_back("--listen=" + address_);
  words_.insert(words_.end(), {"--heartbeat_seconds=0.1", "--dead_seconds=2", "--threads=1"});
  words_.insert(words_.end(), flags.begin(), flags.end());
  Start();
}

// Shard processes that outlive their parent must not outlive the test.
Servers::~Servers() {
  const std::vector<pid_t> pids = Pids();
  process_->Signal(SIGTERM);
  const bool ended = process_->Wait(In(20)).has_value();
  EXPECT_TRUE(ended) << "mixrec ps did not end after SIGTERM\n" << Log();
  for (const pid_t pid : pids) {
    const auto line = ReadFile(StrCat("/proc/", pid, "/cmdline"));
    if (line.ok() && line->find(address_) != std::string::npos) ::kill(pid, SIGKILL);
  }
}

void Servers::Start() {
  map_ = nlohmann::json::object();
  process_ = std::make_unique<Process>(words_, log_);
}

std::string Servers::Log() const {
  const auto log = ReadFile(log_);
  return log.ok() ? *log : "";
}

void Servers::TakeLines(Instant until) {
  for (auto line = process_->ReadLine(until); line; line = process_->ReadLine(In(0))) {
    if (line->front() == '{') map_ = nlohmann::json::parse(*line);
  }
}

bool Servers::WaitReady(double seconds) {
  const Instant until = In(seconds);
  const auto is_ready = [&] {
    const std::vector<pid_t> pids = Pids();
    return map_.value("event", "") == "ready" && std::all_of(pids.begin(), pids.end(), IsRunning);
  };
  TakeLines(In(0));
  while (!is_ready() && steady_clock::now() < until && !process_->Wait(In(0))) {
    TakeLines(std::min(until, In(0.05)));
  }
  EXPECT_TRUE(is_ready()) << "the servers are not ready; last: " << map_.dump() << "\n" << Log();
  return is_ready();
}

pid_t Servers::PidOf(size_t shard, const std::string& role) const {
  const nlohmann::json& replica = map_.at("shards").at(shard).at(role);
  return replica.is_null() ? 0 : replica.value("pid", 0);
}

std::vector<pid_t> Servers::Pids() const {
  std::vector<pid_t> pids;
  if (!map_.contains("shards")) return pids;
  for (size_t shard = 0; shard < map_["shards"].size(); ++shard) {
    for (const char* role : {"primary", "backup", "learner"}) {
      const pid_t pid = PidOf(shard, role);
      if (pid != 0) pids.push_back(pid);
    }
  }
  return pids;
}

WorkerGroup::WorkerGroup(JobOptions options) : options_(std::move(options)) {
  EXPECT_TRUE(MakeFolder(options_.folder).ok());
}

void WorkerGroup::Start() {
  ranks_.clear();
  ++attempt_;
  for (int rank = 0; rank < options_.world; ++rank) {
    ranks_.push_back(std::make_unique<Process>(
        std::vector<std::string>{
            MIXREC_TABLE_WORKER, "servers=" + options_.servers, "folder=" + options_.folder,
            "key_file=" + options_.key_file, StrCat("rank=", rank),
            StrCat("world=", options_.world), StrCat("steps=", options_.steps),
            StrCat("save_every=", options_.save_every), StrCat("attempt=", attempt_),
            StrCat("deadline=", options_.deadline)},
        options_.folder + "/errors"));
  }
}

bool WorkerGroup::WaitForStep(int step) {
  const std::string wanted = StrCat("step ", step);
  const Instant until = In(40);
  for (auto line = rank(0).ReadLine(until); line; line = rank(0).ReadLine(until)) {
    if (*line == wanted) return true;
  }
  ADD_FAILURE() << "rank 0 did not get to step " << step << ": " << Errors();
  return false;
}

bool WorkerGroup::WaitForEnd(double seconds) {
  const std::vector<int> codes = Codes(seconds);
  return std::all_of(codes.begin(), codes.end(), [](int code) { return code == 0; });
}

std::vector<int> WorkerGroup::Codes(double seconds) {
  const Instant until = In(seconds);
  std::vector<int> codes;
  for (const auto& process : ranks_) codes.push_back(process->Wait(until).value_or(-1));
  return codes;
}

std::string WorkerGroup::Parameters() const {
  const auto bytes = ReadFile(options_.folder + "/parameters");
  return bytes.ok() ? *bytes : "";
}

std::string WorkerGroup::Errors() const {
  const auto text = ReadFile(options_.folder + "/errors");
  return text.ok() ? *text : "";
}

}  // namespace mixrec
