// The processes of one mpirun, which may have several roles:
//
//   mpirun -n 2 mixrec ps : -n 4 mixrec train ...
//
// Those of one role are a group. A program that was not started by mpirun never touches MPI.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "collective/group.h"
#include "collective/process_life.h"
#include "common/status.h"

namespace mixrec::collective {

class Engine;
class HostGroup;

class MpiWorld {
 public:
  struct Options {
    std::string role;
    std::string fingerprint;       // must be the same for all of the role; empty: is not looked at
    double patience_seconds = 60;  // of everything, the others' coming included
  };

  // Whether a launcher of MPI started this process: mpirun, or srun with PMIx. UsageError for a
  // step of srun's with several tasks and no PMIx, and under torchrun, which would be as many
  // programs of one.
  static absl::StatusOr<bool> IsLaunched();

  // Starts MPI, and meets the others. FailureError naming who did not come, UsageError naming whose
  // fingerprint differs. Once in a process.
  static absl::StatusOr<std::unique_ptr<MpiWorld>> Join(const Options& options);

  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;
  // Ends MPI together with the others. After a failure the process leaves it behind as it is: let
  // it end by _exit.
  ~MpiWorld();

  // Of this process's role.
  Group* group();
  // All processes, by their ranks in the world.
  Group* world();
  // The members of the group by their ranks in the world.
  const std::vector<int>& group_world_ranks() const;
  const std::vector<std::string>& roles() const { return roles_; }
  // The first world rank of a role; -1: nobody has it.
  int LeaderOf(const std::string& role) const;
  // Returns when every process of the world has called it: nobody needs anybody any more. The
  // patience is the world's. Said once; later calls return what the first one did.
  absl::Status SayGoodbye();
  // Whether another process, by its rank in the world, is on this host; then, whether it ends
  // within so many seconds.
  bool IsHere(int rank) const;
  bool EndsWithin(int rank, double seconds) const;
  // A function that returns when all other processes of this host have ended, or after so many
  // seconds. It may outlive the world.
  std::function<void(double)> waits_for_others() const;
  // Sums `tensor` (fp32, contiguous, on the CPU) over all processes by MPI_Allreduce itself: to
  // measure the group's sums beside. Nobody is named when somebody does not come.
  absl::Status SumByMpi(const at::Tensor& tensor);
  // The failure of this world, if it has failed.
  absl::Status failure() const;
  // The thread of the MPI transport, for groups that do part of their work elsewhere
  // (nccl_group.h).
  Engine* engine() { return engine_.get(); }

 private:
  MpiWorld() = default;
  absl::Status Meet(const Options& options);

  std::unique_ptr<Engine> engine_;
  std::vector<std::string> roles_;  // by world rank
  std::unique_ptr<HostGroup> world_, group_;
  std::optional<absl::Status> goodbye_;
  std::map<int, ProcessId> here_;  // the others of this host, by world rank
};

}  // namespace mixrec::collective
