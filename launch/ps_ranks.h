// `mixrec ps` as some ranks of an mpirun: who leads, where they listen, when they end. Alone, it
// changes nothing.
#pragma once

#include <string>

#include "common/status.h"
#include "launch/ranks.h"
#include "net/zmq_transport.h"

namespace mixrec::launch {

class PsRanks {
 public:
  // `ranks` outlives it.
  explicit PsRanks(Ranks* ranks) : ranks_(ranks) {}

  // Gives the flags that this rank's place decides their values: where it listens, how many shard
  // processes it starts, the key, and whom it joins: the leader, for whose address it waits.
  absl::Status TakePlace(const Invocation& invocation);
  // The leader's authority listens there: now the others go on.
  absl::Status Announce(const std::string& address);

  // Runs the loop until the other commands of the mpirun are done; where there are none, until a
  // stop signal.
  absl::Status Serve(net::ZmqLoop* loop, net::Actor* actor);
  // Told to stop, the others first save what the servers hold.
  bool obeys_stop_signal() const { return !ranks_->has_other_roles(); }

  // Shard processes that the ranks before this one start on its host.
  int processes_before() const { return processes_before_; }

 private:
  absl::Status Lead(const Invocation& invocation, const std::string& host);
  absl::Status Follow(const std::string& host);

  Ranks* ranks_;
  int processes_before_ = 0;
};

// Shard processes that --shards, --replicas and --sockets need. UsageError when they cannot be.
absl::StatusOr<int> ProcessesOfAllShards();

}  // namespace mixrec::launch
