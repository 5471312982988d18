// Who is primary, backup and learner of each shard: the one place that decides it, epoch by epoch.
// A net::Actor. Each decision is in the journal before anybody hears of it, so an authority that is
// started again goes on where the old one was; while there is none, shards go on as they are.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/status.h"
#include "net/actor.h"
#include "ps/protocol.h"
#include "ps/shard_map.h"

namespace mixrec::ps {

struct AuthorityOptions {
  int shards = 1;
  int replicas = 0;                          // backups of each shard: 0 or 1
  net::Time dead_after = 10 * net::kSecond;  // without a heartbeat
  // The map the journal had; version 0: a new one.
  ShardMap map;
  // Makes a decision durable. A failure stops decisions, not the shards.
  std::function<absl::Status(const ShardMap&)> journal;
  // Told of every decision, in words.
  std::function<void(const std::string&)> report;
};

class Authority : public net::Actor {
 public:
  explicit Authority(const AuthorityOptions& options);

  void Start(net::Outbox* out) override;
  void Receive(const net::Peer& from, const net::Message& message, net::Outbox* out) override;
  void Tick(net::Outbox* out) override;

  const ShardMap& map() const { return map_; }
  // Every shard has a primary, and its backup if there are to be any.
  bool complete() const;

 private:
  struct Member {
    uint64_t incarnation = 0;
    net::Time heard = 0;
    net::Peer peer;
    bool in_sync = false;  // its follower has every update it acknowledges
    uint64_t epoch = 0;    // that it works under
  };

  void OnHeartbeat(const net::Peer& from, const Heartbeat& heartbeat, net::Outbox* out);
  // Decides what the members make possible; true when the map has changed.
  void Decide(net::Outbox* out);
  void Form(ShardMap* map);
  void Repair(size_t index, ShardMap* map);
  bool IsAlive(const Replica& replica) const;
  // A member that no slot names, in another process than `apart_from` and if possible on another
  // host; empty when there is none. Where most places are free comes first, so that pairs of
  // replicas are found as long as there are any.
  Replica Spare(const ShardMap& map, const Replica& apart_from = {}) const;
  void SendMap(const net::Peer& to, const Envelope& request, net::Outbox* out) const;
  void Report(const std::string& text) const;

  AuthorityOptions options_;
  ShardMap map_;
  std::map<std::string, Member> members_;  // by endpoint
};

// The journal's line of a map, and back.
std::string MapToJson(const ShardMap& map);
absl::StatusOr<ShardMap> MapFromJson(const std::string& text);

}  // namespace mixrec::ps
