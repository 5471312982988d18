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
  const bool in_sync = role_ == Role::kPrimary && log_.in_sync();
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
    // Rows of another shard, or of a life of this one that is over, are nothing here.
    if (slot_ != static_cast<int>(index) || lineage_ != slot.lineage) Forget();
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
  Forget();
}

void Shard::Forget() {
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
  lineage_ = slot.lineage;
  if (state_ == nullptr || role == Role::kLearner) {
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
  // A learner is one since this epoch, and has nothing, whatever it was before.
  const bool known = log_.follower() != nullptr && *log_.follower() == follower;
  if (has_backup && known) return;
  log_.RemoveFollower();
  if (has_backup && state_->Leases().empty() && received_ == 0) {
    log_.AddBackup(follower);  // both know nothing yet
  } else {
    log_.AddLearner(follower, state_->Serialise(), /*synchronous=*/has_backup);
  }
}

bool Shard::InEpoch(const Wire& wire) const {
  // Epochs are the slot's own: another slot's mean nothing here.
  return wire.envelope.slot == slot_ &&
         (wire.envelope.epoch == epoch_ || options_.mutation == Mutation::kNoEpochCheck);
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
