#include "ps/caller.h"

#include <algorithm>

#include "common/log.h"
#include "ps/codec.h"
#include "ps/requests.h"

namespace mixrec::ps {
namespace {

constexpr net::Time kAskInterval = 200 * net::kMillisecond;
constexpr size_t kEnvelopeBytes = 512;
constexpr uint64_t kRankBits = 12;  // with microseconds of the wall clock above them: 63 bits

size_t BytesOf(const Body& body) {
  size_t bytes = kEnvelopeBytes;
  if (const auto* pull = std::get_if<Pull>(&body)) bytes += pull->ids.size();
  if (const auto* push = std::get_if<Push>(&body)) {
    bytes += push->ids.size() + push->gradients.size();
  }
  if (const auto* forward = std::get_if<SoftmaxForward>(&body)) bytes += forward->states.size();
  if (const auto* backward = std::get_if<SoftmaxBackward>(&body)) bytes += backward->states.size();
  return bytes;
}

}  // namespace

uint64_t IncarnationAt(int64_t microseconds, int rank) {
  CHECK(microseconds >= 0 && rank >= 0);
  const uint64_t low = static_cast<uint64_t>(rank) & ((uint64_t{1} << kRankBits) - 1);
  return static_cast<uint64_t>(microseconds) << kRankBits | low;
}

void Caller::Call(int slot, Body body, size_t answer_bytes, std::string what, OnAnswer done) {
  CHECK(slot >= 0 && slot < shards());
  Lane& lane = lanes_[static_cast<size_t>(slot)];
  Request request;
  request.flow = IsEffect(body) ? kEffects : kReads;
  request.bytes = BytesOf(body) + answer_bytes;
  request.body = std::move(body);
  request.what = std::move(what);
  request.done = std::move(done);
  lane.waiting[request.flow].push_back(lane.next);
  lane.requests.emplace(lane.next++, std::move(request));
}

size_t Caller::outstanding() const {
  size_t sum = 0;
  for (const Lane& lane : lanes_) sum += lane.requests.size();
  return sum;
}

size_t Caller::outstanding(int slot) const {
  return lanes_[static_cast<size_t>(slot)].requests.size();
}

void Caller::Receive(const Wire& wire, net::Outbox* out) {
  if (const auto* map = std::get_if<Map>(&wire.body)) {
    AdoptMap(map->map);
    return;
  }
  const Envelope& envelope = wire.envelope;
  if (envelope.slot < 0 || envelope.slot >= shards()) return;
  Lane& lane = lanes_[static_cast<size_t>(envelope.slot)];
  const auto found = lane.requests.find(envelope.request);
  if (found == lane.requests.end() || !found->second.in_flight) return;
  Request& request = found->second;
  request.heard = out->now();
  request.text = envelope.text;
  switch (envelope.code) {
    case Code::kOk:
    case Code::kMissingForward:
      Finish(envelope.slot, envelope.request, wire);
      return;
    case Code::kParked:
      request.parked = true;
      return;
    case Code::kWrongEpoch:
    case Code::kNotPrimary:
      request.heard = 0;  // nobody who could answer it
      wants_map_ = true;
      return;
    case Code::kRefused:
    case Code::kUnknownSpace:
    case Code::kFenced:
    case Code::kFailed:
      Finish(envelope.slot, envelope.request,
             FailureError("shard ", envelope.slot, " at ",
                          map_.slots[static_cast<size_t>(envelope.slot)].primary.endpoint, ": ",
                          request.what, ": ", envelope.text));
      return;
  }
}

void Caller::Finish(int slot, uint64_t number, absl::StatusOr<Wire> answer) {
  Lane& lane = lanes_[static_cast<size_t>(slot)];
  const auto found = lane.requests.find(number);
  CHECK(found != lane.requests.end() && found->second.in_flight);
  lane.in_flight_bytes[found->second.flow] -= found->second.bytes;
  const OnAnswer done = std::move(found->second.done);
  lane.requests.erase(found);
  done(std::move(answer));
}

void Caller::AdoptMap(const ShardMap& map) {
  if (map.version <= map_.version || map.slots.empty()) return;
  if (!map_.slots.empty() && map.slots.size() != map_.slots.size()) return;  // of other servers
  if (lanes_.empty()) lanes_.resize(map.slots.size());
  for (size_t slot = 0; slot < map_.slots.size(); ++slot) {
    if (map.slots[slot].epoch == map_.slots[slot].epoch) continue;
    for (auto& [number, request] : lanes_[slot].requests) request.again = true;
  }
  map_ = map;
  wants_map_ = false;
}

void Caller::AskForMap(net::Outbox* out) {
  if (out->now() < asked_at_ + kAskInterval) {
    out->WakeAt(asked_at_ + kAskInterval);
    return;
  }
  asked_at_ = out->now();
  std::vector<std::string> peers = options_.servers;
  for (const ShardSlot& slot : map_.slots) {
    for (const Replica* replica : {&slot.backup, &slot.primary}) {
      if (!replica->endpoint.empty()) peers.push_back(replica->endpoint);
    }
  }
  // The first server, the authority, knows it first; the others are asked in turn.
  Envelope envelope;
  envelope.incarnation = options_.incarnation;
  out->Send(peers[0], Encode({envelope, GetMap{}}));
  if (peers.size() > 1) {
    next_server_ = next_server_ % (peers.size() - 1) + 1;
    out->Send(peers[next_server_], Encode({envelope, GetMap{}}));
  }
  out->WakeAt(asked_at_ + kAskInterval);
}

void Caller::Send(net::Outbox* out) {
  for (int slot = 0; slot < shards(); ++slot) {
    FailOverdue(slot, out->now());
    SendAgain(slot, out);
    SendWaiting(slot, out);
  }
  if (wants_map_) AskForMap(out);
}

// What is in flight, and due.
void Caller::SendAgain(int slot, net::Outbox* out) {
  for (auto& [number, request] : lanes_[static_cast<size_t>(slot)].requests) {
    if (!request.in_flight) continue;
    if (request.again || out->now() >= request.sent + options_.retry) {
      if (!request.again) wants_map_ = true;  // whoever was asked may be gone
      SendRequest(slot, number, &request, out);
    }
    out->WakeAt(request.sent + options_.retry);
  }
}

// The oldest of each flow in turn, as long as their windows have room.
void Caller::SendWaiting(int slot, net::Outbox* out) {
  Lane& lane = lanes_[static_cast<size_t>(slot)];
  for (bool some = true; some;) {
    some = false;
    for (size_t flow = 0; flow < kFlows; ++flow) {
      std::deque<uint64_t>& waiting = lane.waiting[flow];
      size_t& in_flight = lane.in_flight_bytes[flow];
      if (waiting.empty()) continue;
      Request& request = lane.requests.at(waiting.front());
      if (in_flight > 0 && in_flight + request.bytes > options_.window_bytes) continue;
      in_flight += request.bytes;
      request.in_flight = some = true;
      SendRequest(slot, waiting.front(), &request, out);
      waiting.pop_front();
      out->WakeAt(out->now() + options_.retry);
    }
  }
}

void Caller::SendRequest(int slot, uint64_t number, Request* request, net::Outbox* out) {
  if (request->started == 0) request->started = out->now();
  request->sent = out->now();
  request->again = false;
  const Lane& lane = lanes_[static_cast<size_t>(slot)];
  const ShardSlot& shard = map_.slots[static_cast<size_t>(slot)];
  if (shard.primary.endpoint.empty()) {
    wants_map_ = true;
    return;
  }
  Envelope envelope;
  envelope.request = number;
  envelope.incarnation = options_.incarnation;
  envelope.epoch = shard.epoch;
  envelope.slot = slot;
  envelope.done_below = lane.requests.begin()->first;
  out->Send(shard.primary.endpoint, Encode({std::move(envelope), request->body}));
}

absl::Status Caller::Overdue(int slot, const Request& request, net::Time now) const {
  const ShardSlot& shard = map_.slots[static_cast<size_t>(slot)];
  const std::string where = StrCat("shard ", slot, " at ", shard.primary.endpoint, ": ");
  if (request.parked && now - request.started > options_.peer_deadline) {
    return FailureError(where, request.what, ": ", request.text, ", for ",
                        (now - request.started) / net::kSecond,
                        " s: that worker is stuck or gone; resume from the last checkpoint");
  }
  const net::Time silent = now - std::max(request.started, request.heard);
  if (silent <= options_.deadline) return absl::OkStatus();
  return FailureError(where, request.what, ": no answer for ", silent / net::kSecond, " s",
                      shard.backup.endpoint.empty() ? ", and it has no backup" : "",
                      ": look after the servers, then resume from the last checkpoint");
}

void Caller::FailOverdue(int slot, net::Time now) {
  Lane& lane = lanes_[static_cast<size_t>(slot)];
  std::vector<std::pair<uint64_t, absl::Status>> overdue;
  for (const auto& [number, request] : lane.requests) {
    if (request.started == 0) continue;
    absl::Status status = Overdue(slot, request, now);
    if (!status.ok()) overdue.emplace_back(number, std::move(status));
  }
  for (auto& [number, status] : overdue) Finish(slot, number, std::move(status));
}

}  // namespace mixrec::ps
