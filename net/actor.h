// The shape of every long-lived role: a state machine that consumes one message, or the passing of
// time, and names what must be sent. It has no thread, socket, clock or lock of its own, so the
// same object runs on ZeroMQ (net/zmq_transport.h) and on a simulated network (net/simulation.h).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "net/buffer.h"

namespace mixrec::net {

// A point in time: microseconds of a steady clock, from an arbitrary start.
using Time = int64_t;
inline constexpr Time kMicrosecond = 1;
inline constexpr Time kMillisecond = 1000;
inline constexpr Time kSecond = 1000000;
inline constexpr Time kNever = INT64_MAX;

// What travels: an envelope (Cap'n Proto, 8-byte aligned) and raw tensor frames after it. A whole
// message is meant to stay below a MiB; who has more sends several.
struct Message {
  Buffer head;
  std::vector<Buffer> frames;

  size_t bytes() const {
    size_t sum = head.size();
    for (const Buffer& frame : frames) sum += frame.size();
    return sum;
  }
};

// A peer's name. Of one that listens: its endpoint ("tcp://10.0.0.3:7001"). Of one that connected:
// whatever the transport passes as `from`; good for replies.
using Peer = std::string;

struct Packet {
  Peer to;
  Message message;
};

// What an actor wants done after one call.
class Outbox {
 public:
  explicit Outbox(Time now) : now_(now) {}

  Time now() const { return now_; }
  // Messages may be lost, repeated, delayed and reordered on the way.
  void Send(Peer to, Message message) { packets_.push_back({std::move(to), std::move(message)}); }
  // Tick no later than then (it may come earlier). Each call to the actor asks anew: without a
  // request there is no Tick before the next message.
  void WakeAt(Time time) { wake_ = time < wake_ ? time : wake_; }
  // The actor has nothing left to do; the transport sends what is in the outbox and ends.
  void Stop() { stopped_ = true; }

  std::vector<Packet>& packets() { return packets_; }
  Time wake() const { return wake_; }
  bool stopped() const { return stopped_; }

 private:
  Time now_;
  std::vector<Packet> packets_;
  Time wake_ = kNever;
  bool stopped_ = false;
};

class Actor {
 public:
  virtual ~Actor() = default;
  // Called once before anything else.
  virtual void Start(Outbox* out) = 0;
  // `message` is whatever arrived: nothing about it has been checked.
  virtual void Receive(const Peer& from, const Message& message, Outbox* out) = 0;
  virtual void Tick(Outbox* out) = 0;
};

}  // namespace mixrec::net
