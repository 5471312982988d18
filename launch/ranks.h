// This process among those of an mpirun, for the commands that many processes run together:
//
//   mpirun -n 4 mixrec train ...
//   mpirun -n 2 mixrec ps : -n 4 mixrec train ...
//
// The first rank of a command leads: it writes the run and prints. A process that no mpirun started
// is alone, and never touches MPI.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <string>

#include "collective/group.h"
#include "collective/mpi_world.h"
#include "common/status.h"
#include "launch/memory_file.h"
#include "launch/program.h"

namespace mixrec::launch {

// How to reach the parameter servers of the same mpirun.
struct ServersWay {
  std::string address;  // host:port of their authority
  std::string key;      // text of a key file; empty: none is needed
};

class Ranks {
 public:
  // Alone.
  Ranks() = default;
  // Meets the others, and takes this process's part of the host: threads and a GPU.
  static absl::StatusOr<std::unique_ptr<Ranks>> Meet(const Invocation& invocation);

  // The ranks of this command; null: alone.
  collective::Group* group() const { return world_ == nullptr ? nullptr : world_->group(); }
  // All processes; null: alone.
  collective::MpiWorld* world() const { return world_.get(); }
  int rank() const { return group() == nullptr ? 0 : group()->rank(); }
  int size() const { return group() == nullptr ? 1 : group()->size(); }
  bool leads() const { return rank() == 0; }
  // Whether other commands run in this mpirun besides this one.
  bool has_other_roles() const;
  bool spans_hosts() const;
  // Processes of the mpirun on this host, all commands counted.
  int neighbours() const;
  // This rank's number among those of its command on this host.
  int local_rank() const { return group() == nullptr ? 0 : group()->self().local_rank; }
  // For tensors on this device: on a GPU NCCL's. Null: alone. All ranks call it. UsageError when
  // they do not compute on the same kind of device.
  absl::StatusOr<collective::Group*> GroupOn(at::Device device);

  // OK when every rank's status is; otherwise all have the failure of one. Alone: `mine`. More
  // patience than the deadline's: one rank may read for long.
  absl::Status Agree(const absl::Status& mine, const std::string& what) const;
  // Everybody's text becomes the leader's.
  absl::Status Share(const std::string& what, std::string* text) const;

  // All processes of the world, the first server's `way` becoming everybody's.
  absl::Status ShareServers(ServersWay* way);
  // Where some of the world are parameter servers, --ps and --ps_key_file get theirs.
  absl::Status TakeServers(const Invocation& invocation);
  // For this process and its children, as a file.
  absl::Status KeepKey(const std::string& text);
  // Path of that file; empty without a key.
  std::string key_file() const { return key_ == nullptr ? "" : key_->path(); }

  // Ends this process's part, `status` being what the command came to. Returns what the process is
  // to end with: the command's status in one rank, OK in the others, once all have agreed how it
  // ended. After a failure that is one rank's, or of MPI's, does not return: the failure is printed
  // once, and the process ends.
  absl::Status End(const absl::Status& status, const Invocation& invocation);

 private:
  void TakePartOfHost(const Invocation& invocation) const;
  // Says which ranks of the command are where, and with which GPUs.
  absl::Status TellPlaces(const Invocation& invocation) const;
  // By their ranks in the world: who says a failure, and who does if those before cannot. Not whom
  // it says to be missing; servers last.
  std::vector<int> SpeakersOf(const absl::Status& failure) const;
  // Whether this rank has to. Returns when the first speaker has ended, or did not for too long.
  bool MustSpeak(const std::vector<int>& speakers) const;
  [[noreturn]] void Fail(const absl::Status& failure, const Invocation& invocation);

  std::unique_ptr<collective::MpiWorld> world_;
  std::unique_ptr<collective::Group> device_group_;
  std::unique_ptr<MemoryFile> key_;
};

using RankCommand = std::function<absl::Status(const Invocation&, Ranks*)>;

// Runs a command as one rank of many, or alone. What ranks that do not lead, and servers of an
// mpirun with other commands, write to the streams they are given is not heard.
absl::Status RunAmongRanks(const Invocation& invocation, const RankCommand& command);

// The command of one process: UsageError when an mpirun started several. Its children are no ranks.
Command OneProcess(const Command& command);

}  // namespace mixrec::launch
