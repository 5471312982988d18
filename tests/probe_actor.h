// An actor made of functions, which keeps what it got.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/actor.h"

namespace mixrec::net {

inline Message TextMessage(const std::string& text) { return {Buffer::Copy(text), {}}; }
inline std::string TextOf(const Message& message) { return std::string(message.head.bytes()); }

struct ProbeActor : Actor {
  struct Arrival {
    Time time;
    Peer from;
    std::string text;
  };
  std::vector<Arrival> arrivals;
  std::vector<Time> ticks;
  std::function<void(Outbox*)> on_start, on_tick;
  std::function<void(const Peer&, const Message&, Outbox*)> on_receive;

  void Start(Outbox* out) override {
    if (on_start) on_start(out);
  }
  void Receive(const Peer& from, const Message& message, Outbox* out) override {
    arrivals.push_back({out->now(), from, TextOf(message)});
    if (on_receive) on_receive(from, message, out);
  }
  void Tick(Outbox* out) override {
    ticks.push_back(out->now());
    if (on_tick) on_tick(out);
  }
};

// Sends back what it gets, with "echo " before the text.
inline std::unique_ptr<ProbeActor> EchoActor() {
  auto probe = std::make_unique<ProbeActor>();
  probe->on_receive = [](const Peer& from, const Message& message, Outbox* out) {
    Message answer = TextMessage("echo " + TextOf(message));
    answer.frames = message.frames;
    out->Send(from, std::move(answer));
  };
  return probe;
}

}  // namespace mixrec::net
