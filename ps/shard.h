// One replica of one shard: serves workers while it is the primary, follows while it is the backup,
// and does what the authority's map says (docs/protocol.md). A net::Actor: no thread, socket or
// clock of its own.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "net/actor.h"
#include "ps/mutation.h"
#include "ps/protocol.h"
#include "ps/replication.h"
#include "ps/shard_state.h"

namespace mixrec::ps {

struct ShardOptions {
  std::string endpoint;      // where peers reach it
  uint64_t incarnation = 1;  // of this process; a later one is larger
  std::string authority;     // endpoint
  at::Device device = at::kCPU;
  net::Time heartbeat = net::kSecond;
  // Without a word from the authority and without work for so long it ends; 0: never.
  net::Time orphan_after = 600 * net::kSecond;
  size_t forward_bytes = size_t{1} << 30;  // states kept for the second half of the softmax
  ReplicationOptions replication;
  Mutation mutation = Mutation::kNone;
  // Simulations only: called after a snapshot file was written; true: the process dies right then.
  std::function<bool(const std::string& path)> dies_after_saving;
};

enum class Role { kSpare, kLearner, kBackup, kPrimary };

class Shard : public net::Actor {
 public:
  explicit Shard(const ShardOptions& options);

  void Start(net::Outbox* out) override;
  void Receive(const net::Peer& from, const net::Message& message, net::Outbox* out) override;
  void Tick(net::Outbox* out) override;

  Role role() const { return role_; }
  int slot() const { return slot_; }
  uint64_t epoch() const { return epoch_; }
  // Whether it has stopped because it cannot follow its primary: its process is to start anew.
  bool failed() const { return failed_; }
  // Null unless it holds a state.
  const ShardState* state() const { return state_.get(); }

 private:
  struct ParkedRead {
    net::Peer from;
    Wire wire;
  };
  // The first half of a softmax, kept for the second.
  struct KeptForward {
    std::string space;
    uint64_t incarnation = 0;
    std::string table;
    int64_t step = 0;
    int32_t part = 0;
    net::Buffer states, labels;
  };

  // As the map says.
  void Adopt(const ShardMap& map, net::Outbox* out);
  void Become(Role role, const ShardSlot& slot, net::Outbox* out);
  void FollowSlot(const ShardSlot& slot);
  void BecomeSpare();
  void Forget();
  void LeavePrimary();
  Replica self() const { return {options_.endpoint, options_.incarnation}; }

  // As the primary.
  void OnWorker(const net::Peer& from, Wire wire, net::Outbox* out);
  void OnEffect(const net::Peer& from, Wire wire, net::Outbox* out);
  void OnRead(const net::Peer& from, Wire wire, net::Outbox* out);
  bool AddKeptForward(Wire* wire);
  void KeepForward(const Wire& wire);
  void DropForward(const Wire& wire);
  void Commit(net::Outbox* out);
  void RetryParked(net::Outbox* out);
  bool Dies(const Wire& wire, const Answer& answer, net::Outbox* out);
  void DropExpired(net::Outbox* out);

  // As a follower.
  void OnReplicate(const net::Peer& from, const Wire& wire, net::Outbox* out);
  void OnImage(const net::Peer& from, const Wire& wire, net::Outbox* out);
  void Fail(net::Outbox* out);

  void SendHeartbeat(net::Outbox* out);
  void Reply(const net::Peer& to, const Envelope& request, Answer answer, net::Outbox* out) const;
  bool InEpoch(const Wire& wire) const;
  Envelope OwnEnvelope() const;
  std::string StatsJson() const;

  ShardOptions options_;
  ShardMap map_;
  Role role_ = Role::kSpare;
  int slot_ = -1;
  uint64_t epoch_ = 0, lineage_ = 0;
  std::unique_ptr<ShardState> state_;

  ReplicationLog log_;
  std::deque<ParkedRead> parked_;
  std::deque<KeptForward> forwards_;
  size_t forward_bytes_ = 0;
  std::map<std::string, net::Time> heard_;  // the last word of each namespace's workers

  uint64_t received_ = 0;        // number of the last update that is here
  uint64_t image_sequence_ = 0;  // of the image that comes, or came, plus 1; 0: none
  std::vector<net::Buffer> image_pieces_;

  net::Time heartbeat_at_ = 0;
  net::Time authority_heard_ = 0, worker_heard_ = 0;
  bool authority_missed_ = false, failed_ = false;
  uint64_t requests_ = 0, malformed_ = 0;
};

}  // namespace mixrec::ps
