// Requests of one worker to the shards: each is sent to whoever is the shard's primary, again and
// again until it is answered, with a bound on the bytes in flight in either direction and a
// deadline (docs/protocol.md). The heart of ps::Client; a state machine without thread or clock.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/status.h"
#include "net/actor.h"
#include "ps/protocol.h"

namespace mixrec::ps {

// The incarnation of a process that becomes `rank` at a time of the wall clock: larger than those
// of the rank's earlier processes, and never another rank's, also when both start at the same
// moment.
uint64_t IncarnationAt(int64_t microseconds, int rank);

struct CallerOptions {
  std::vector<std::string> servers;  // endpoints: authorities, or shards, which know the map too
  uint64_t incarnation = 1;          // of this process alone; a later one of the rank is larger
  net::Time retry = 2 * net::kSecond;
  net::Time deadline = 60 * net::kSecond;        // silence about a request after which it fails
  net::Time peer_deadline = 600 * net::kSecond;  // of one that the shard parks for other ranks
  size_t window_bytes = 4 * 1024 * 1024;  // in flight with each shard: of effects, and of reads
};

// One thread.
class Caller {
 public:
  explicit Caller(const CallerOptions& options) : options_(options) {}

  // The answer: kOk or kMissingForward; or why there is none, in one line for a person.
  using OnAnswer = std::function<void(absl::StatusOr<Wire>)>;
  // Queues a request; it leaves with the next Send. `answer_bytes`: about how many come back.
  // `what` names it in errors ("pull of table cf.item, step 12"). `done` may call again.
  void Call(int slot, Body body, size_t answer_bytes, std::string what, OnAnswer done);

  void Receive(const Wire& wire, net::Outbox* out);
  // Sends what is due, fails what is over its deadline, and asks to be woken.
  void Send(net::Outbox* out);

  // Empty until the first map with a primary for every shard came; the number of shards is then
  // fixed.
  const ShardMap& map() const { return map_; }
  int shards() const { return static_cast<int>(map_.slots.size()); }
  // Requests that wait for an answer.
  size_t outstanding() const;
  size_t outstanding(int slot) const;

 private:
  // Effects and reads have a window each: a read may be parked until an effect of this very worker
  // is there, such as rows that are pulled ahead of a push, and must not hold it back.
  enum Flow : size_t { kEffects, kReads, kFlows };
  struct Request {
    Body body;
    Flow flow = kReads;
    bool in_flight = false;
    size_t bytes = 0;
    std::string what;
    OnAnswer done;
    net::Time started = 0, sent = 0, heard = 0;  // 0: not yet
    bool parked = false;
    bool again = false;  // to be sent at once: the map has changed
    std::string text;    // of the last answer that was none
  };
  struct Lane {  // to one shard
    uint64_t next = 1;
    std::map<uint64_t, Request> requests;  // waiting and in flight, by number
    std::array<std::deque<uint64_t>, kFlows> waiting;
    std::array<size_t, kFlows> in_flight_bytes = {};
  };

  void AdoptMap(const ShardMap& map);
  void AskForMap(net::Outbox* out);
  void SendAgain(int slot, net::Outbox* out);
  void SendWaiting(int slot, net::Outbox* out);
  void SendRequest(int slot, uint64_t number, Request* request, net::Outbox* out);
  void FailOverdue(int slot, net::Time now);
  absl::Status Overdue(int slot, const Request& request, net::Time now) const;
  void Finish(int slot, uint64_t number, absl::StatusOr<Wire> answer);

  CallerOptions options_;
  ShardMap map_;
  std::vector<Lane> lanes_;
  bool wants_map_ = true;
  net::Time asked_at_ = -net::kSecond;
  size_t next_server_ = 0;
};

}  // namespace mixrec::ps
