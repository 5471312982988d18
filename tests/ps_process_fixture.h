// Real processes for tests of the parameter server: `mixrec ps` and groups of table_worker. Every
// wait has a deadline; what is not there in time is named in the failure.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace mixrec {

using Instant = std::chrono::steady_clock::time_point;
Instant In(double seconds);

// A child process; killed when the object goes.
class Process {
 public:
  // stdout is read by ReadLine, stderr goes to the end of a file.
  Process(std::vector<std::string> words, const std::string& error_file);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;
  // The next line of stdout; nothing when it has ended or the time is over.
  std::optional<std::string> ReadLine(Instant until);
  // Its exit code, or 128 + the signal that killed it; nothing when it still runs.
  std::optional<int> Wait(Instant until);

 private:
  pid_t pid_ = -1;
  int output_ = -1, handle_ = -1;
  std::string unread_;
  std::optional<int> code_;
};

// `mixrec ps` with short heartbeats, at a fixed port of this machine.
class Servers {
 public:
  // `flags` besides --listen and the heartbeats. `folder` gets its log.
  Servers(std::vector<std::string> flags, const std::string& folder);
  ~Servers();

  void Start();
  const std::string& address() const { return address_; }
  Process& process() { return *process_; }
  std::string Log() const;

  // Until all shards and backups are at work, and none is stopped or dead. A test failure
  // otherwise.
  bool WaitReady(double seconds = 30);
  // Of the last line it printed: {"shards":[{"primary":{"pid":…},"backup":…},…]}.
  const nlohmann::json& map() const { return map_; }
  // `role`: "primary" or "backup". 0: there is none.
  pid_t PidOf(size_t shard, const std::string& role) const;
  std::vector<pid_t> Pids() const;

 private:
  void TakeLines(Instant until);

  std::vector<std::string> words_;
  std::string address_, log_;
  std::unique_ptr<Process> process_;
  nlohmann::json map_ = nlohmann::json::object();
};

struct JobOptions {
  std::string servers, folder, key_file;
  int world = 1;
  int steps = 120, save_every = 20;
  int deadline = 20;
};

// All ranks of one job.
class WorkerGroup {
 public:
  explicit WorkerGroup(JobOptions options);

  // Kills what is left of an earlier attempt and starts all ranks.
  void Start();
  Process& rank(int rank) { return *ranks_[static_cast<size_t>(rank)]; }
  // Until rank 0 is at a step. False, with a test failure, when it does not get there.
  bool WaitForStep(int step);
  // True as soon as every rank has ended with code 0. False at the deadline, or when one failed.
  bool WaitForEnd(double seconds);
  // The exit codes, -1 for who still runs after so long.
  std::vector<int> Codes(double seconds);
  std::string Parameters() const;  // empty: there are none
  std::string Errors() const;

 private:
  JobOptions options_;
  int attempt_ = 0;
  std::vector<std::unique_ptr<Process>> ranks_;
};

// A port of this machine that is free now.
int FreePort();
// Whether the process exists and is neither a zombie nor stopped.
bool IsRunning(pid_t pid);
// Whether a process that is no child of ours has ended by then.
bool WaitForEndOf(pid_t pid, Instant until);

}  // namespace mixrec
