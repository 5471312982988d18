// A simulated network for actors: one thread, virtual time, and every misfortune a real one has,
// drawn from a seed. The same seed and the same script give the same history.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/random.h"
#include "net/actor.h"

namespace mixrec::net {

struct SimulationOptions {
  double drop = 0;       // chance that a message is lost
  double duplicate = 0;  // chance that it arrives twice
  // A delay is uniform in [min_delay, max_delay], so messages overtake each other; with chance
  // `straggle` it is up to `straggle_delay`.
  Time min_delay = 50 * kMicrosecond, max_delay = 2 * kMillisecond;
  double straggle = 0;
  Time straggle_delay = 2 * kSecond;
  // Chance that a message that meets a partition arrives after it is healed; otherwise it is lost.
  double held = 0.5;
  // Ticks come up to so much later than asked for, as threads wake late.
  Time timer_lateness = 100 * kMicrosecond;
  // Whether trace() is kept, and how a message is told there (its size if empty).
  bool trace = false;
  std::function<std::string(const Message&)> describe;
};

// Names are what peers send to (an actor that listens on "tcp://a:1" is added under that name). As
// on ZeroMQ, the receiver sees a message come from an identity that belongs to one life of the
// sender: answers to it reach that life or nobody, and are seen to come from the name that was
// asked.
class Simulation {
 public:
  explicit Simulation(uint64_t seed, SimulationOptions options = {});
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;
  ~Simulation();

  Time now() const { return now_; }
  // May be changed at any time, for instance to end a run without further faults.
  SimulationOptions* options() { return &options_; }

  // Starts an actor; a dead one's name may be given again.
  void Add(const Peer& name, std::unique_ptr<Actor> actor);
  // Destroys it at once. What it has sent may still arrive.
  void Kill(const Peer& name);
  // False when it was killed or has stopped itself.
  bool Alive(const Peer& name) const;
  Actor* actor(const Peer& name) const;  // null when it is not alive
  // Stops its time (SIGSTOP): messages and ticks wait for Continue.
  void Pause(const Peer& name);
  void Continue(const Peer& name);
  // Nothing passes from a to b, nor back if `both`, until Heal.
  void Partition(const Peer& a, const Peer& b, bool both = true);
  void Heal();

  // Runs `function` as if the actor had been called; like ZmqLoop::Post. Nothing if it is not
  // alive.
  void Post(const Peer& name, std::function<void(Outbox*)> function);
  // A step of the script.
  void At(Time time, std::function<void()> function);

  // Handles the next event; false when there is none.
  bool Step();
  // Everything up to and at `time`, which becomes now.
  void RunUntil(Time time);
  // Until `done` (asked after every event) is true; false when it is not by `limit`.
  bool RunUntil(const std::function<bool()>& done, Time limit);

  // Hash of all that happened so far: who was called when, with what bytes.
  uint64_t history() const { return history_; }
  uint64_t events() const { return events_; }
  // A line an event.
  const std::string& trace() const { return trace_; }

 private:
  enum class Kind : uint8_t { kMessage, kTick, kPost, kScript };
  struct Event {
    Kind kind = Kind::kMessage;
    int node = -1;      // whom it concerns
    uint64_t life = 0;  // of the node; 0: any
    int sender = -1;
    Peer from;
    Message message;
    std::function<void(Outbox*)> post;
    std::function<void()> script;
  };
  // A heap's entry; equal times in the order in which they were made.
  struct Due {
    Time time;
    uint64_t order;
    size_t event;
    bool operator<(const Due& other) const {
      return time != other.time ? time > other.time : order > other.order;
    }
  };
  struct Node {
    int index = 0;
    Peer name, identity;
    uint64_t life = 0;
    std::unique_ptr<Actor> actor;
    bool paused = false;
    Time wake = kNever;           // asked for
    Time tick_due = kNever;       // of the tick event `tick`
    uint64_t tick = 0;            // order of the only tick event that counts
    std::vector<size_t> waiting;  // events that came while it was paused
  };
  struct Address {
    int node;
    uint64_t life;  // 0: any
  };

  Node* Find(const Peer& name);
  const Node* Find(const Peer& name) const;
  size_t NewEvent(Kind kind, int node);
  void Free(size_t event);
  uint64_t Schedule(Time time, size_t event);
  void Handle(const Due& due);
  void HandleTick(const Due& due, Node* node);
  void Deliver(size_t event, Node* node);
  template <typename Call>
  void Invoke(Node* node, bool asks_anew, Call call);
  void Send(int sender, Packet packet);
  void Put(int sender, const Address& to, const Peer& from, const Message& message);
  void ScheduleTick(Node* node);
  bool Blocked(int from, int to) const { return !cuts_.empty() && cuts_.count({from, to}) > 0; }
  bool Chance(double probability);
  Time Delay();
  void Record(Kind kind, const Node& node, const Event* event);

  SimulationOptions options_;
  RandomStream random_;
  Time now_ = 0;
  uint64_t order_ = 0;
  std::vector<Due> due_;  // a heap
  std::vector<Event> pool_;
  std::vector<size_t> free_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::unordered_map<Peer, Address> addresses_;  // names and identities; never iterated
  std::set<std::pair<int, int>> cuts_;
  std::vector<size_t> held_;
  uint64_t history_ = 0, events_ = 0;
  std::string trace_;
};

}  // namespace mixrec::net
