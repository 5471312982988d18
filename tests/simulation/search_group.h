// A worker group of the simulated search: the very scheduler::Group, and training that takes
// virtual time and leaves checkpoints on a disk that all groups share.
#pragma once

#include <map>
#include <set>
#include <string>

#include "net/actor.h"
#include "scheduler/group.h"
#include "tests/simulation/search_world.h"

namespace mixrec::scheduler {

// What all see, outside the network, and what has gone wrong.
struct Shared {
  explicit Shared(const SearchWorldOptions& world) : options(world) {}

  const SearchWorldOptions& options;
  std::map<int, int> checkpoints;  // epochs of a trial that are on the shared disk
  std::map<int, double> results;   // as the strategy was told
  std::map<int, std::string> ends;
  std::string violation;  // the first one

  void Violate(const std::string& text) {
    if (violation.empty()) violation = text;
  }
};

class SimulatedGroup : public net::Actor, public GroupWork {
 public:
  // `left` gets the group's result when it stops.
  SimulatedGroup(const GroupOptions& options, Shared* shared, std::string* left);
  ~SimulatedGroup() override;

  void Start(net::Outbox* out) override;
  void Receive(const net::Peer& from, const net::Message& message, net::Outbox* out) override;
  void Tick(net::Outbox* out) override;
  void Begin(const TrialAttempt& id, const std::string& work) override;
  void End(const TrialAttempt& id, EndReason reason) override;

  Group& group() { return group_; }

 private:
  struct Job {
    int epochs = 0;
    net::Time next = 0;
    bool ending = false;
  };
  enum class Fate { kGoesOn, kFails, kFailsForGood };

  Fate FateOf(const TrialAttempt& id, int epoch) const;
  net::Time EpochTime(const TrialAttempt& id) const;
  void Work(net::Outbox* out);
  // True when the job has ended.
  bool Step(const TrialAttempt& id, Job* job, net::Outbox* out);
  void Wake(net::Outbox* out) const;

  Shared* shared_;
  std::string* left_;
  Group group_;
  std::map<TrialAttempt, Job> jobs_;
  net::Time now_ = 0, ready_at_ = net::kNever;
};

}  // namespace mixrec::scheduler
