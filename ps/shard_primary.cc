// What a shard does as the primary: requests of workers, agreed upon with the follower.
#include <algorithm>

#include "common/log.h"
#include "ps/codec.h"
#include "ps/shard.h"

namespace mixrec::ps {

void Shard::OnWorker(const net::Peer& from, Wire wire, net::Outbox* out) {
  ++requests_;
  if (std::holds_alternative<Stats>(wire.body)) {
    Reply(from, wire.envelope, {Code::kOk, "", StatsReport{StatsJson()}}, out);
    return;
  }
  if (role_ != Role::kPrimary) {
    Reply(from, wire.envelope, Refuse(Code::kNotPrimary, "not the primary"), out);
    return;
  }
  if (!InEpoch(wire)) {
    if (wire.envelope.epoch > epoch_) SendHeartbeat(out);
    Reply(from, wire.envelope, Refuse(Code::kWrongEpoch, "epoch ", epoch_), out);
    return;
  }
  worker_heard_ = heard_[SpaceOf(wire.body)] = out->now();
  if (IsEffect(wire.body)) {
    OnEffect(from, std::move(wire), out);
  } else {
    OnRead(from, std::move(wire), out);
  }
}

void Shard::OnEffect(const net::Peer& from, Wire wire, net::Outbox* out) {
  Answer answer;
  switch (state_->Find(wire.envelope, wire.body, &answer)) {
    case ShardState::Seen::kAnswered:
      Reply(from, wire.envelope, std::move(answer), out);
      return;
    case ShardState::Seen::kOver:
      return;
    case ShardState::Seen::kNew:
      break;
  }
  const bool repeated =
      options_.mutation != Mutation::kNoDeduplication &&
      log_.Holds(wire.envelope.incarnation, SpaceOf(wire.body), wire.envelope.request);
  if (repeated) return;  // the answer comes when it is applied
  answer = state_->Prepare(wire.body);
  if (answer.code == Code::kOk && !AddKeptForward(&wire)) {
    answer = Refuse(Code::kMissingForward, "the first half of this softmax is not here");
  }
  if (answer.code != Code::kOk) {
    Reply(from, wire.envelope, std::move(answer), out);
    return;
  }
  log_.Append(std::move(wire), from);
  received_ = log_.last();
  Commit(out);
}

void Shard::Commit(net::Outbox* out) {
  if (role_ != Role::kPrimary) return;
  const std::vector<ReplicationLog::Entry> entries = log_.TakeCommitted();
  for (const ReplicationLog::Entry& entry : entries) {
    const Envelope& envelope = entry.wire.envelope;
    Answer answer = state_->Apply(envelope, entry.wire.body);
    DropForward(entry.wire);
    if (!entry.from.empty()) Reply(entry.from, envelope, std::move(answer), out);
  }
  if (!entries.empty()) RetryParked(out);
}

void Shard::OnRead(const net::Peer& from, Wire wire, net::Outbox* out) {
  Answer answer = state_->Read(wire.envelope, wire.body);
  if (Dies(wire, answer, out)) return;
  if (answer.code == Code::kOk) KeepForward(wire);
  const bool parked = answer.code == Code::kParked;
  Reply(from, wire.envelope, std::move(answer), out);
  if (!parked) return;
  for (ParkedRead& read : parked_) {
    if (read.wire.envelope.incarnation == wire.envelope.incarnation &&
        read.wire.envelope.request == wire.envelope.request) {
      read.from = from;
      return;
    }
  }
  parked_.push_back({from, std::move(wire)});
}

void Shard::RetryParked(net::Outbox* out) {
  std::deque<ParkedRead> still;
  for (ParkedRead& read : parked_) {
    Answer answer = state_->Read(read.wire.envelope, read.wire.body);
    if (answer.code == Code::kParked) {
      still.push_back(std::move(read));
      continue;
    }
    if (Dies(read.wire, answer, out)) return;
    if (answer.code == Code::kOk) KeepForward(read.wire);
    Reply(read.from, read.wire.envelope, std::move(answer), out);
  }
  parked_ = std::move(still);
}

bool Shard::Dies(const Wire& wire, const Answer& answer, net::Outbox* out) {
  const auto* saved = std::get_if<Saved>(&answer.body);
  if (saved == nullptr || !options_.dies_after_saving) return false;
  if (!options_.dies_after_saving(StrCat(std::get<Save>(wire.body).folder, "/", saved->file))) {
    return false;
  }
  out->packets().clear();
  out->Stop();
  return true;
}

void Shard::KeepForward(const Wire& wire) {
  const auto* forward = std::get_if<SoftmaxForward>(&wire.body);
  if (forward == nullptr) return;
  DropForward(wire);
  forwards_.push_back({forward->key.space, wire.envelope.incarnation, forward->key.table,
                       forward->step, forward->part, forward->states, forward->labels});
  forward_bytes_ += forward->states.size();
  while (forward_bytes_ > options_.forward_bytes && forwards_.size() > 1) {
    forward_bytes_ -= forwards_.front().states.size();
    forwards_.pop_front();
  }
}

namespace {

// The position of a request's first half among the kept ones; their size when it is not there.
template <typename Kept, typename Request>
size_t FindForward(const Kept& forwards, uint64_t incarnation, const Request& request) {
  size_t index = 0;
  while (index < forwards.size() &&
         !(forwards[index].incarnation == incarnation && forwards[index].step == request.step &&
           forwards[index].part == request.part && forwards[index].table == request.key.table &&
           forwards[index].space == request.key.space)) {
    ++index;
  }
  return index;
}

}  // namespace

bool Shard::AddKeptForward(Wire* wire) {
  auto* backward = std::get_if<SoftmaxBackward>(&wire->body);
  if (backward == nullptr || !backward->states.empty()) return true;
  const size_t index = FindForward(forwards_, wire->envelope.incarnation, *backward);
  if (index == forwards_.size()) return backward->log_sum_exp.empty();
  if (forwards_[index].labels.size() != backward->log_sum_exp.size()) return false;
  backward->states = forwards_[index].states;
  backward->labels = forwards_[index].labels;
  return true;
}

void Shard::DropForward(const Wire& wire) {
  size_t index = forwards_.size();
  if (const auto* backward = std::get_if<SoftmaxBackward>(&wire.body)) {
    index = FindForward(forwards_, wire.envelope.incarnation, *backward);
  } else if (const auto* forward = std::get_if<SoftmaxForward>(&wire.body)) {
    index = FindForward(forwards_, wire.envelope.incarnation, *forward);
  }
  if (index == forwards_.size()) return;
  forward_bytes_ -= forwards_[index].states.size();
  forwards_.erase(forwards_.begin() + static_cast<std::ptrdiff_t>(index));
}

void Shard::DropExpired(net::Outbox* out) {
  if (role_ != Role::kPrimary) return;
  const std::map<std::string, int64_t> leases = state_->Leases();
  for (auto heard = heard_.begin(); heard != heard_.end();) {
    heard = leases.count(heard->first) > 0 ? std::next(heard) : heard_.erase(heard);
  }
  for (const auto& [space, seconds] : leases) {
    const auto [heard, is_new] = heard_.emplace(space, out->now());
    if (seconds == 0 || out->now() - heard->second <= seconds * net::kSecond) continue;
    LOG(WARNING) << "namespace " << space << ": its lease of " << seconds
                 << " s ran out; its tables are dropped";
    Envelope envelope = OwnEnvelope();
    envelope.incarnation = UINT64_MAX;
    heard->second = out->now();
    log_.Append({envelope, DropNamespace{space}}, "");
    received_ = log_.last();
  }
  Commit(out);
}

}  // namespace mixrec::ps
