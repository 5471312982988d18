#include "ps/shard.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "common/log.h"
#include "ps/codec.h"

namespace mixrec::ps {
namespace {

ReplicationOptions WithMutation(ReplicationOptions options, Mutation mutation) {
  options.commit_early = mutation == Mutation::kEarlyAcknowledgement;
  return options;
}

const char* RoleName(Role role) {
  constexpr const char* kNames[] = {"spare", "learner", "backup", "primary"};
  return kNames[static_cast<size_t>(role)];
}

}  // namespace

Shard::Shard(const ShardOptions& options)
    : options_(options), log_(WithMutation(options.replication, options.mutation)) {}

void Shard::Start(net::Outbox* out) {
  authority_heard_ = worker_heard_ = heartbeat_at_ = out->now();
  Tick(out);
}

void Shard::Receive(const net::Peer& from, const net::Message& message, net::Outbox* out) {
  absl::StatusOr<Wire> wire = Decode(message);
  if (!wire.ok()) {
    ++malformed_;
    LOG_IF(WARNING, malformed_ <= 10) << "dropped a message: " << wire.status().message();
  } else if (const auto* map = std::get_if<Map>(&wire->body)) {
    authority_heard_ = out->now();
    Adopt(map->map, out);
  } else if (std::holds_alternative<Replicate>(wire->body)) {
    OnReplicate(from, *wire, out);
  } else if (std::holds_alternative<StateImage>(wire->body)) {
    OnImage(from, *wire, out);
  } else if (const auto* replicated = std::get_if<Replicated>(&wire->body)) {
    if (InEpoch(*wire)) log_.OnReplicated(replicated->up_to);
    if (wire->envelope.code != Code::kOk) SendHeartbeat(out);  // the map has changed
    Commit(out);
  } else if (const auto* piece = std::get_if<StateImageReceived>(&wire->body)) {
    if (InEpoch(*wire)) log_.OnImagePiece(piece->sequence, piece->part);
    Commit(out);
  } else if (std::holds_alternative<GetMap>(wire->body)) {
    Reply(from, wire->envelope, {Code::kOk, "", Map{map_}}, out);
  } else {
    OnWorker(from, *std::move(wire), out);
  }
  Tick(out);
}

void Shard::Tick(net::Outbox* out) {
  if (out->now() >= heartbeat_at_) {
    DropExpired(out);
    SendHeartbeat(out);
  }
  if (role_ == Role::kPrimary) log_.Send(OwnEnvelope(), out);
  out->WakeAt(heartbeat_at_);
}

void Shard::SendHeartbeat(net::Outbox* out) {
  const bool in_sync = role_ == Role::kPrimary && log_.synchronous();
  out->Send(options_.authority,
            Encode({OwnEnvelope(),
                    Heartbeat{options_.endpoint, options_.incarnation, slot_, epoch_, in_sync}}));
  heartbeat_at_ = out->now() + options_.heartbeat;
  const net::Time silent = out->now() - authority_heard_;
  const bool missed = silent > 10 * options_.heartbeat;
  if (missed && !authority_missed_) {
    LOG(ERROR) << "the authority " << options_.authority << " has been silent for "
               << silent / net::kSecond
               << " s: work goes on, but no backup takes over until it is back";
  }
  authority_missed_ = missed;
  if (options_.orphan_after > 0 && silent > options_.orphan_after &&
      out->now() - worker_heard_ > options_.orphan_after) {
    LOG(ERROR) << "no authority and no worker for " << options_.orphan_after / net::kSecond
               << " s: this shard ends";
    out->Stop();
  }
}

// --- roles ------------------------------------------------------------------------------------

void Shard::Adopt(const ShardMap& map, net::Outbox* out) {
  if (map.version <= map_.version) return;
  map_ = map;
  for (size_t index = 0; index < map_.slots.size(); ++index) {
    const ShardSlot& slot = map_.slots[index];
    Role role = Role::kSpare;
    if (slot.primary == self()) role = Role::kPrimary;
    if (slot.backup == self()) role = Role::kBackup;
    if (slot.learner == self()) role = Role::kLearner;
    if (role == Role::kSpare) continue;
    if (slot_ == static_cast<int>(index) && epoch_ == slot.epoch) return;
    slot_ = static_cast<int>(index);
    Become(role, slot, out);
    return;
  }
  if (role_ != Role::kSpare) BecomeSpare();
}

void Shard::BecomeSpare() {
  LOG(WARNING) << "shard " << slot_ << ": replaced while this process was away; it starts anew";
  role_ = Role::kSpare;
  slot_ = -1;
  epoch_ = 0;
  state_.reset();
  received_ = 0;
  LeavePrimary();
}

void Shard::LeavePrimary() {
  parked_.clear();
  forwards_.clear();
  forward_bytes_ = 0;
  log_.Reset(0);
}

void Shard::Become(Role role, const ShardSlot& slot, net::Outbox* out) {
  const Role before = role_;
  role_ = role;
  epoch_ = slot.epoch;
  if (before != role) {
    LOG(INFO) << "shard " << slot_ << ": " << RoleName(role) << ", epoch " << epoch_;
  }
  if (lineage_ != slot.lineage) {
    state_.reset();
    if (before == Role::kPrimary) LeavePrimary();
  }
  lineage_ = slot.lineage;
  if (state_ == nullptr || (role == Role::kLearner && before != Role::kLearner)) {
    state_ = std::make_unique<ShardState>(slot.buckets, options_.device, options_.mutation);
    received_ = 0;
    image_sequence_ = 0;
    image_pieces_.clear();
  }
  if (before == Role::kPrimary && role != Role::kPrimary) LeavePrimary();
  if (role == Role::kPrimary) {
    if (log_.last() != received_) log_.Reset(received_);
    FollowSlot(slot);
    Commit(out);
  }
  SendHeartbeat(out);
}

// The primary's follower becomes the map's.
void Shard::FollowSlot(const ShardSlot& slot) {
  const bool has_backup = !slot.backup.endpoint.empty();
  const Replica& follower = has_backup ? slot.backup : slot.learner;
  if (follower.endpoint.empty()) {
    log_.RemoveFollower();
    return;
  }
  if (log_.follower() != nullptr && *log_.follower() == follower) return;
  log_.RemoveFollower();
  if (has_backup && state_->Leases().empty() && received_ == 0) {
    log_.AddBackup(follower);  // both know nothing yet
  } else {
    log_.AddLearner(follower, state_->Serialise(), /*synchronous=*/has_backup);
  }
}

// --- the primary --------------------------------------------------------------------------------

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
  if (wire.envelope.slot != slot_ || !InEpoch(wire)) {
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

// --- followers ----------------------------------------------------------------------------------

void Shard::OnReplicate(const net::Peer& from, const Wire& wire, net::Outbox* out) {
  const Envelope& envelope = wire.envelope;
  if (!InEpoch(wire)) {
    if (envelope.epoch > epoch_) {
      SendHeartbeat(out);  // to learn the new epoch; the primary will send again
    } else {
      Reply(from, envelope, {Code::kWrongEpoch, StrCat("epoch ", epoch_), Replicated{0}}, out);
    }
    return;
  }
  const bool follows = role_ == Role::kBackup || role_ == Role::kLearner;
  if (!follows && options_.mutation != Mutation::kNoEpochCheck) return;
  if (state_ == nullptr) return;
  const bool has_image = image_sequence_ > 0 && image_pieces_.empty();
  if (role_ == Role::kLearner && !has_image) return;
  const auto& update = std::get<Replicate>(wire.body);
  if (update.sequence == received_ + 1) {
    const absl::StatusOr<Wire> original = Decode({update.original, update.frames});
    if (!original.ok()) {
      LOG(ERROR) << "a damaged update: " << original.status().message();
      return;
    }
    const Answer answer = state_->Apply(original->envelope, original->body);
    if (answer.code == Code::kFailed) {
      LOG(ERROR) << "shard " << slot_ << " cannot follow its primary: " << answer.text;
      out->Stop();
      return;
    }
    received_ = update.sequence;
  }
  Reply(from, envelope, {Code::kOk, "", Replicated{std::min(received_, update.sequence)}}, out);
}

void Shard::OnImage(const net::Peer& from, const Wire& wire, net::Outbox* out) {
  const auto& piece = std::get<StateImage>(wire.body);
  if (wire.envelope.epoch != epoch_) {
    if (wire.envelope.epoch > epoch_) SendHeartbeat(out);
    return;
  }
  if (role_ != Role::kLearner && role_ != Role::kBackup) return;
  const bool loaded = image_pieces_.empty() && image_sequence_ == piece.sequence + 1;
  if (!loaded) {
    if (image_sequence_ != piece.sequence + 1 ||
        image_pieces_.size() != static_cast<size_t>(piece.parts)) {
      image_sequence_ = piece.sequence + 1;
      image_pieces_.assign(static_cast<size_t>(piece.parts), {});
    }
    image_pieces_[static_cast<size_t>(piece.part)] = piece.bytes;
    const bool whole = std::all_of(image_pieces_.begin(), image_pieces_.end(),
                                   [](const net::Buffer& bytes) { return !bytes.empty(); });
    if (whole) {
      std::string image;
      for (const net::Buffer& bytes : image_pieces_) image.append(bytes.data(), bytes.size());
      const absl::Status status = state_->Load(net::Buffer::Copy(image));
      if (!status.ok()) {
        LOG(ERROR) << "a damaged state: " << status.message();
        out->Stop();
        return;
      }
      received_ = piece.sequence;
      image_pieces_.clear();
    }
  }
  Reply(from, wire.envelope, {Code::kOk, "", StateImageReceived{piece.sequence, piece.part}}, out);
}

// ------------------------------------------------------------------------------------------------

bool Shard::InEpoch(const Wire& wire) const {
  return wire.envelope.epoch == epoch_ || options_.mutation == Mutation::kNoEpochCheck;
}

Envelope Shard::OwnEnvelope() const {
  Envelope envelope;
  envelope.incarnation = options_.incarnation;
  envelope.epoch = epoch_;
  envelope.slot = slot_;
  return envelope;
}

void Shard::Reply(const net::Peer& to, const Envelope& request, Answer answer,
                  net::Outbox* out) const {
  Envelope envelope = OwnEnvelope();
  envelope.request = request.request;
  envelope.slot = request.slot;
  envelope.code = answer.code;
  envelope.text = std::move(answer.text);
  out->Send(to, Encode({std::move(envelope), std::move(answer.body)}));
}

std::string Shard::StatsJson() const {
  nlohmann::ordered_json stats{{"endpoint", options_.endpoint}, {"slot", slot_},
                               {"role", RoleName(role_)},       {"epoch", epoch_},
                               {"requests", requests_},         {"malformed", malformed_},
                               {"parked", parked_.size()}};
  if (state_ != nullptr) stats.update(nlohmann::ordered_json::parse(state_->StatsJson()));
  return stats.dump();
}

}  // namespace mixrec::ps
