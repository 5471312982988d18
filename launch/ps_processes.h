// The shard processes of one `mixrec ps`: children that run this program's own file. They are
// started again when they die, and ended with it.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/status.h"
#include "launch/ps_state.h"
#include "net/actor.h"

namespace mixrec::launch {

struct ShardProcessOptions {
  int count = 1;
  std::vector<std::string> arguments;  // of the program, without its name
  int gpus = 0;                        // the processes share them in turn,
  int first_gpu = 0;                   // beginning here
  int stop_signal = SIGTERM;           // at which one ends
  // Told of every process that was started, to find it again after a restart of this one.
  std::function<absl::Status(const ShardProcess&)> journal;
};

// One thread: the children end with the thread that starts them.
class ShardProcesses {
 public:
  // `earlier`: processes of an earlier life; those that still live are taken over.
  ShardProcesses(ShardProcessOptions options, const std::vector<ShardProcess>& earlier);
  ShardProcesses(const ShardProcesses&) = delete;
  ShardProcesses& operator=(const ShardProcesses&) = delete;
  ~ShardProcesses();  // ends them

  // Notices who died and starts what is missing. One that dies at once is started again after a
  // growing pause.
  void Maintain(net::Time now);

  // SIGTERM, and SIGKILL for who is not gone after some seconds. Waits.
  void End();

  int adopted() const { return adopted_; }
  // 0 when it is none of ours.
  pid_t PidOf(uint64_t incarnation) const;

 private:
  struct Place {
    ShardProcess process;   // pid 0: none now
    bool is_child = false;  // otherwise adopted: nobody to wait for
    net::Time started = 0;  // or when it may start
    int failures = 0;       // deaths in a row soon after the start
  };

  // Whether it has ended; `*how` says in words how.
  static bool HasEnded(const Place& place, std::string* how);
  void Start(size_t index, net::Time now);
  absl::StatusOr<pid_t> Spawn(uint64_t incarnation, size_t index) const;

  const ShardProcessOptions options_;
  std::vector<Place> places_;
  uint64_t last_incarnation_ = 0;
  int adopted_ = 0;
};

}  // namespace mixrec::launch
