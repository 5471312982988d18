// The worker groups of `mixrec search --groups=N`: child processes, started again when they die.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "launch/child_process.h"
#include "net/actor.h"

namespace mixrec::launch {

struct GroupProcessesOptions {
  std::string study;  // folder
  int groups = 1;     // named g1, g2, ...
  int ranks = 1;      // of each, under mpirun
  // Of `mixrec worker`, besides --study, --group and --parent.
  std::vector<std::string> arguments;
  std::vector<std::string> devices;  // CUDA_VISIBLE_DEVICES in turn; empty: as it is
};

// One thread: the children end with the one that starts them.
class GroupProcesses {
 public:
  explicit GroupProcesses(GroupProcessesOptions options);

  // Notices who ended and starts what is missing, after a growing pause where a group dies at once.
  // The error of a group that another start cannot help: a wrong flag, unreadable data.
  absl::Status Maintain(net::Time now);
  // They save and leave; none is started again.
  void AskToStop();
  // Waits for all of them; kills who is not gone after so long.
  void End(double grace_seconds);

 private:
  struct Place {
    std::unique_ptr<ChildProcess> process;
    net::Time next_start = 0;  // or when it was started
    int failures = 0;          // deaths in a row soon after the start
    bool done = false;         // it has ended with the study
  };
  absl::Status Start(size_t index, net::Time now);
  // Whether all have ended in time.
  bool AwaitEnds(double seconds);
  std::string NameOf(size_t index) const;

  const GroupProcessesOptions options_;
  std::vector<Place> places_;
  bool stopping_ = false;
};

}  // namespace mixrec::launch
