// The parent of `mixrec ps`: the authority and the shard processes of this host, on one loop.
#pragma once

#include <map>
#include <ostream>
#include <string>

#include "launch/ps_processes.h"
#include "net/actor.h"
#include "ps/authority.h"

namespace mixrec::launch {

struct PsSupervisorOptions {
  ps::AuthorityOptions authority;
  std::string address;            // host:port where the authority listens
  net::Time poll = net::kSecond;  // between two looks at the processes
  std::ostream* out = nullptr;    // gets a JSON line when the shards are ready, and at every change
};

// The outside of the authority: looks after the processes, and says when everything is up.
class PsSupervisor : public net::Actor {
 public:
  // `processes` outlives it.
  PsSupervisor(PsSupervisorOptions options, ShardProcesses* processes);

  void Start(net::Outbox* out) override;
  void Receive(const net::Peer& from, const net::Message& message, net::Outbox* out) override;
  void Tick(net::Outbox* out) override;

 private:
  struct Member {
    uint64_t incarnation = 0, slot_epoch = 0;
    bool operator!=(const Member& other) const {
      return incarnation != other.incarnation || slot_epoch != other.slot_epoch;
    }
  };

  // True when it is news.
  bool Note(const net::Message& message);
  bool WorksIn(const ps::Replica& replica, uint64_t epoch) const;
  // Whether the whole map is in force.
  bool IsReady() const;
  void Announce();
  void PrintMap(const char* event) const;

  PsSupervisorOptions options_;
  ShardProcesses* processes_;
  ps::Authority authority_;
  std::map<std::string, Member> members_;  // by endpoint
  uint64_t printed_version_ = 0;
  bool was_ready_ = false, said_ready_ = false;
  net::Time next_look_ = 0;
};

// Of `mixrec ps --join`: no authority here, only processes.
class ProcessKeeper : public net::Actor {
 public:
  ProcessKeeper(net::Time poll, ShardProcesses* processes) : poll_(poll), processes_(processes) {}
  void Start(net::Outbox* out) override { Tick(out); }
  void Receive(const net::Peer&, const net::Message&, net::Outbox* out) override { Tick(out); }
  void Tick(net::Outbox* out) override {
    processes_->Maintain(out->now());
    out->WakeAt(out->now() + poll_);
  }

 private:
  const net::Time poll_;
  ShardProcesses* const processes_;
};

}  // namespace mixrec::launch
