#include "net/simulation.h"

#include <xxhash.h>

#include <algorithm>

#include "common/log.h"
#include "common/status.h"

namespace mixrec::net {
namespace {

uint64_t ContentOf(const Message& message) {
  uint64_t hash = XXH3_64bits(message.head.data(), message.head.size());
  for (const Buffer& frame : message.frames) {
    hash = Mix64(hash) ^ XXH3_64bits(frame.data(), frame.size());
  }
  return hash;
}

}  // namespace

Simulation::Simulation(uint64_t seed, SimulationOptions options)
    : options_(std::move(options)), random_(HashKey(seed, "simulation")) {
  CHECK(0 < options_.min_delay && options_.min_delay <= options_.max_delay);
}

Simulation::~Simulation() = default;

Simulation::Node* Simulation::Find(const Peer& name) {
  const auto found = addresses_.find(name);
  return found == addresses_.end() ? nullptr : nodes_[found->second.node].get();
}
const Simulation::Node* Simulation::Find(const Peer& name) const {
  return const_cast<Simulation*>(this)->Find(name);
}

void Simulation::Add(const Peer& name, std::unique_ptr<Actor> actor) {
  Node* node = Find(name);
  if (node == nullptr) {
    addresses_[name] = {static_cast<int>(nodes_.size()), 0};
    nodes_.push_back(std::make_unique<Node>());
    node = nodes_.back().get();
    node->index = static_cast<int>(nodes_.size()) - 1;
    node->name = name;
  }
  CHECK(node->actor == nullptr) << name << " is alive";
  ++node->life;
  node->identity = StrCat(name, "#", node->life);
  addresses_[node->identity] = {node->index, node->life};
  node->actor = std::move(actor);
  Record(Kind::kScript, *node, nullptr);
  Invoke(node, true, [&](Outbox* out) { node->actor->Start(out); });
}

void Simulation::Kill(const Peer& name) {
  Node* node = Find(name);
  CHECK(node != nullptr) << name;
  node->actor.reset();
  node->paused = false;
  node->wake = node->tick_due = kNever;
  node->tick = 0;
  for (const size_t event : node->waiting) Free(event);
  node->waiting.clear();
}

bool Simulation::Alive(const Peer& name) const { return actor(name) != nullptr; }

Actor* Simulation::actor(const Peer& name) const {
  const Node* node = Find(name);
  return node == nullptr ? nullptr : node->actor.get();
}

void Simulation::Pause(const Peer& name) {
  Node* node = Find(name);
  CHECK(node != nullptr) << name;
  node->paused = node->actor != nullptr;
}

void Simulation::Continue(const Peer& name) {
  Node* node = Find(name);
  CHECK(node != nullptr) << name;
  if (!node->paused) return;
  node->paused = false;
  for (const size_t event : node->waiting) Schedule(now_, event);
  node->waiting.clear();
  ScheduleTick(node);
}

void Simulation::Partition(const Peer& a, const Peer& b, bool both) {
  const Node *from = Find(a), *to = Find(b);
  CHECK(from != nullptr && to != nullptr) << a << ", " << b;
  cuts_.insert({from->index, to->index});
  if (both) cuts_.insert({to->index, from->index});
}

void Simulation::Heal() {
  cuts_.clear();
  for (const size_t event : held_) Schedule(now_ + Delay(), event);
  held_.clear();
}

void Simulation::Post(const Peer& name, std::function<void(Outbox*)> function) {
  Node* node = Find(name);
  if (node == nullptr || node->actor == nullptr) return;
  const size_t event = NewEvent(Kind::kPost, node->index);
  pool_[event].life = node->life;
  pool_[event].post = std::move(function);
  Schedule(now_, event);
}

void Simulation::At(Time time, std::function<void()> function) {
  const size_t event = NewEvent(Kind::kScript, -1);
  pool_[event].script = std::move(function);
  Schedule(std::max(time, now_), event);
}

size_t Simulation::NewEvent(Kind kind, int node) {
  if (free_.empty()) {
    free_.push_back(pool_.size());
    pool_.emplace_back();
  }
  const size_t event = free_.back();
  free_.pop_back();
  pool_[event].kind = kind;
  pool_[event].node = node;
  pool_[event].life = 0;
  return event;
}

void Simulation::Free(size_t event) {
  pool_[event].message = {};
  pool_[event].post = nullptr;
  pool_[event].script = nullptr;
  free_.push_back(event);
}

uint64_t Simulation::Schedule(Time time, size_t event) {
  due_.push_back({time, ++order_, event});
  std::push_heap(due_.begin(), due_.end());
  return order_;
}

bool Simulation::Step() {
  if (due_.empty()) return false;
  std::pop_heap(due_.begin(), due_.end());
  const Due due = due_.back();
  due_.pop_back();
  now_ = std::max(now_, due.time);
  Handle(due);
  return true;
}

void Simulation::RunUntil(Time time) {
  while (!due_.empty() && due_.front().time <= time) Step();
  now_ = std::max(now_, time);
}

bool Simulation::RunUntil(const std::function<bool()>& done, Time limit) {
  while (!done()) {
    if (due_.empty() || due_.front().time > limit) {
      now_ = std::max(now_, limit);
      return false;
    }
    Step();
  }
  return true;
}

void Simulation::Handle(const Due& due) {
  const Event& event = pool_[due.event];
  if (event.kind == Kind::kScript) {
    const std::function<void()> script = event.script;
    Free(due.event);
    script();
    return;
  }
  Node* node = nodes_[event.node].get();
  const bool lives = node->actor != nullptr && (event.life == 0 || event.life == node->life);
  if (event.kind == Kind::kTick) {
    Free(due.event);
    if (lives) HandleTick(due, node);
  } else if (event.kind == Kind::kMessage && Blocked(event.sender, event.node)) {
    if (Chance(options_.held)) {
      held_.push_back(due.event);
    } else {
      Free(due.event);
    }
  } else if (!lives) {
    Free(due.event);
  } else if (node->paused) {
    node->waiting.push_back(due.event);
  } else {
    Deliver(due.event, node);
    Free(due.event);
  }
}

// An actor has one tick event at most that counts. It may be early, for a wish that has since been
// put off; then another one follows.
void Simulation::HandleTick(const Due& due, Node* node) {
  if (due.order != node->tick) return;
  node->tick_due = kNever;
  if (node->paused) return;
  if (node->wake > now_) return ScheduleTick(node);
  Record(Kind::kTick, *node, nullptr);
  Invoke(node, true, [&](Outbox* out) { node->actor->Tick(out); });
}

void Simulation::Deliver(size_t index, Node* node) {
  Event& event = pool_[index];
  Record(event.kind, *node, &event);
  if (event.kind == Kind::kPost) {
    const auto post = std::move(event.post);
    return Invoke(node, false, post);
  }
  // Taken out: the call may make events, which moves the pool.
  const Message message = std::move(event.message);
  const Peer from = std::move(event.from);
  Invoke(node, true, [&](Outbox* out) { node->actor->Receive(from, message, out); });
}

template <typename Call>
void Simulation::Invoke(Node* node, bool asks_anew, Call call) {
  Outbox out(now_);
  call(&out);
  for (Packet& packet : out.packets()) Send(node->index, std::move(packet));
  if (out.stopped()) return Kill(node->name);
  node->wake = asks_anew ? out.wake() : std::min(node->wake, out.wake());
  ScheduleTick(node);
}

void Simulation::ScheduleTick(Node* node) {
  // One that is due already stays: it comes within the lateness, or early and is repeated.
  const Time wake = std::max(node->wake, now_);
  if (wake > kNever / 2 || node->tick_due <= wake + options_.timer_lateness) return;
  Time lateness = 1;  // time passes even for who wants a tick at once
  if (options_.timer_lateness > 0) lateness += random_.Next() % options_.timer_lateness;
  node->tick_due = wake + lateness;
  const size_t event = NewEvent(Kind::kTick, node->index);
  pool_[event].life = node->life;
  node->tick = Schedule(node->tick_due, event);
}

void Simulation::Send(int sender, Packet packet) {
  const auto found = addresses_.find(packet.to);
  if (found == addresses_.end()) return;  // as on a network: nobody is there
  // Who is addressed by identity was the one who connected: the answer comes from whom it asked.
  const Address to = found->second;
  const Peer& from = to.life == 0 ? nodes_[sender]->identity : nodes_[sender]->name;
  if (Chance(options_.duplicate)) Put(sender, to, from, packet.message);
  if (!Chance(options_.drop)) Put(sender, to, from, packet.message);
}

void Simulation::Put(int sender, const Address& to, const Peer& from, const Message& message) {
  const size_t index = NewEvent(Kind::kMessage, to.node);
  Event& event = pool_[index];
  event.life = to.life;
  event.sender = sender;
  event.from = from;
  event.message = message;
  Schedule(now_ + Delay(), index);
}

bool Simulation::Chance(double probability) {
  return probability > 0 && random_.Uniform() < probability;
}

Time Simulation::Delay() {
  const Time most = Chance(options_.straggle) ? options_.straggle_delay : options_.max_delay;
  const auto spread = static_cast<uint64_t>(std::max<Time>(most - options_.min_delay, 0)) + 1;
  return options_.min_delay + static_cast<Time>(random_.Next() % spread);
}

void Simulation::Record(Kind kind, const Node& node, const Event* event) {
  ++events_;
  const uint64_t content = event != nullptr ? ContentOf(event->message) : 0;
  const uint64_t sender = event != nullptr ? event->sender + 1 : 0;
  history_ = HashKey(history_ ^ content, static_cast<uint64_t>(now_), static_cast<uint64_t>(kind),
                     static_cast<uint64_t>(node.index), sender);
  if (!options_.trace) return;
  static constexpr const char* kNames[] = {"message", "tick", "post", "start"};
  trace_ += StrCat(now_, " ", node.identity, " ", kNames[static_cast<int>(kind)]);
  if (kind == Kind::kMessage) {
    const auto& describe = options_.describe;
    trace_ +=
        StrCat(" from ", event->from, ": ",
               describe ? describe(event->message) : StrCat(event->message.bytes(), " bytes"));
  }
  trace_ += "\n";
}

}  // namespace mixrec::net
