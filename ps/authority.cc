#include "ps/authority.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "common/log.h"
#include "ps/codec.h"

namespace mixrec::ps {
namespace {

using Json = nlohmann::ordered_json;

bool Exists(const Replica& replica) { return !replica.endpoint.empty(); }

std::string HostOf(const std::string& endpoint) { return endpoint.substr(0, endpoint.rfind(':')); }

bool OnOneHost(const Replica& a, const Replica& b) {
  return HostOf(a.endpoint) == HostOf(b.endpoint);
}

// Shards of one process share its incarnation.
bool InOneProcess(const Replica& a, const Replica& b) {
  return OnOneHost(a, b) && a.incarnation == b.incarnation;
}

int64_t CountLike(const std::vector<Replica>& replicas, const Replica& one,
                  bool (*are_alike)(const Replica&, const Replica&)) {
  return std::count_if(replicas.begin(), replicas.end(),
                       [&](const Replica& other) { return are_alike(one, other); });
}

}  // namespace

Authority::Authority(const AuthorityOptions& options) : options_(options), map_(options.map) {
  CHECK(options.shards >= 1 && options.replicas >= 0 && options.replicas <= 1);
}

void Authority::Start(net::Outbox* out) {
  // Whom the journal names gets the time to speak up.
  for (const ShardSlot& slot : map_.slots) {
    for (const Replica* replica : {&slot.primary, &slot.backup, &slot.learner}) {
      if (!Exists(*replica)) continue;
      members_[replica->endpoint] = {replica->incarnation, out->now(), "", false, slot.epoch};
    }
  }
  Tick(out);
}

void Authority::Receive(const net::Peer& from, const net::Message& message, net::Outbox* out) {
  const absl::StatusOr<Wire> wire = Decode(message);
  if (!wire.ok()) return;
  if (const auto* heartbeat = std::get_if<Heartbeat>(&wire->body)) {
    OnHeartbeat(from, *heartbeat, out);
  } else if (std::holds_alternative<GetMap>(wire->body)) {
    SendMap(from, wire->envelope, out);
  }
  Tick(out);
}

void Authority::Tick(net::Outbox* out) {
  Decide(out);
  out->WakeAt(out->now() + options_.dead_after / 4);
}

void Authority::OnHeartbeat(const net::Peer& from, const Heartbeat& heartbeat, net::Outbox* out) {
  Member& member = members_[heartbeat.endpoint];
  if (heartbeat.incarnation < member.incarnation) return;  // of a process that is gone
  member = {heartbeat.incarnation, out->now(), from, heartbeat.caught_up, heartbeat.slot_epoch};
  SendMap(from, {}, out);
}

bool Authority::IsAlive(const Replica& replica) const {
  const auto found = members_.find(replica.endpoint);
  return found != members_.end() && found->second.incarnation == replica.incarnation;
}

Replica Authority::Spare(const ShardMap& map, const Replica& apart_from) const {
  std::vector<Replica> unused;
  for (const auto& [endpoint, member] : members_) {
    const Replica replica{endpoint, member.incarnation};
    const bool used = std::any_of(map.slots.begin(), map.slots.end(), [&](const ShardSlot& slot) {
      return slot.primary == replica || slot.backup == replica || slot.learner == replica;
    });
    if (!used) unused.push_back(replica);
  }
  const auto merit = [&](const Replica& replica) {
    return std::make_tuple(!OnOneHost(replica, apart_from), CountLike(unused, replica, OnOneHost),
                           CountLike(unused, replica, InOneProcess));
  };
  Replica best;
  for (const Replica& replica : unused) {
    if (Exists(apart_from) && InOneProcess(replica, apart_from)) continue;
    if (!Exists(best) || merit(replica) > merit(best)) best = replica;
  }
  return best;
}

void Authority::Decide(net::Outbox* out) {
  for (auto member = members_.begin(); member != members_.end();) {
    const net::Time silent = out->now() - member->second.heard;
    if (silent <= options_.dead_after) {
      ++member;
      continue;
    }
    Report(StrCat(member->first, " has been silent for ", silent / net::kSecond, " s: given up"));
    member = members_.erase(member);
  }
  ShardMap next = map_;
  if (next.slots.empty()) {
    Form(&next);
  } else {
    for (size_t index = 0; index < next.slots.size(); ++index) Repair(index, &next);
  }
  if (next.version == map_.version) return;
  if (options_.journal) {
    const absl::Status status = options_.journal(next);
    if (!status.ok()) {
      Report(StrCat("no decision without a journal: ", std::string(status.message())));
      return;
    }
  }
  map_ = std::move(next);
  for (const auto& [endpoint, member] : members_) {
    if (!member.peer.empty()) SendMap(member.peer, {}, out);
  }
}

// The first map: once there is somebody for every place, with replicas apart from each other.
void Authority::Form(ShardMap* map) {
  ShardMap first;
  first.version = 1;
  first.slots.resize(static_cast<size_t>(options_.shards));
  for (size_t index = 0; index < first.slots.size(); ++index) {
    ShardSlot& slot = first.slots[index];
    slot.epoch = slot.lineage = 1;
    slot.buckets = EvenBuckets(static_cast<int64_t>(index), options_.shards);
    slot.primary = Spare(first);
    if (!Exists(slot.primary)) return;
    if (options_.replicas == 0) continue;
    slot.backup = Spare(first, slot.primary);
    if (!Exists(slot.backup)) return;
  }
  *map = std::move(first);
}

void Authority::Repair(size_t index, ShardMap* map) {
  ShardSlot& slot = map->slots[index];
  const ShardSlot before = slot;
  const std::string name = StrCat("shard ", index, ": ");
  if (Exists(slot.learner) && !IsAlive(slot.learner)) slot.learner = {};
  if (Exists(slot.backup) && !IsAlive(slot.backup)) {
    Report(StrCat(name, "the backup at ", slot.backup.endpoint, " is lost"));
    slot.backup = {};
  }
  if (Exists(slot.primary) && !IsAlive(slot.primary)) {
    // Without anybody to take its place a silent primary stays: it may come back with its rows.
    const Replica next = Exists(slot.backup) ? slot.backup : Spare(*map);
    if (Exists(next)) {
      Report(StrCat(name, "the primary at ", slot.primary.endpoint, " is lost; ", next.endpoint,
                    Exists(slot.backup) ? " takes over" : " starts empty, its rows are gone"));
      if (!Exists(slot.backup)) slot.lineage = slot.epoch + 1;
      slot.primary = next;
      slot.backup = slot.learner = {};
    }
  }
  const auto primary = members_.find(slot.primary.endpoint);
  if (Exists(slot.learner) && primary != members_.end() && primary->second.in_sync &&
      primary->second.epoch == slot.epoch) {
    Report(StrCat(name, slot.learner.endpoint, " has caught up and is the backup"));
    slot.backup = slot.learner;
    slot.learner = {};
  }
  const bool wants_learner = options_.replicas > 0 && IsAlive(slot.primary) &&
                             !Exists(slot.backup) && !Exists(slot.learner);
  if (wants_learner) slot.learner = Spare(*map, slot.primary);
  if (slot.primary == before.primary && slot.backup == before.backup &&
      slot.learner == before.learner) {
    return;
  }
  ++slot.epoch;
  ++map->version;
}

bool Authority::complete() const {
  return !map_.slots.empty() &&
         std::all_of(map_.slots.begin(), map_.slots.end(), [&](const ShardSlot& slot) {
           return Exists(slot.primary) && (options_.replicas == 0 || Exists(slot.backup));
         });
}

void Authority::SendMap(const net::Peer& to, const Envelope& request, net::Outbox* out) const {
  Envelope envelope;
  envelope.request = request.request;
  out->Send(to, Encode({envelope, Map{map_}}));
}

void Authority::Report(const std::string& text) const {
  if (options_.report) options_.report(text);
}

std::string MapToJson(const ShardMap& map) {
  const auto replica = [](const Replica& r) { return Json::array({r.endpoint, r.incarnation}); };
  Json slots = Json::array();
  for (const ShardSlot& slot : map.slots) {
    slots.push_back({{"epoch", slot.epoch},
                     {"lineage", slot.lineage},
                     {"buckets", {slot.buckets.first, slot.buckets.last}},
                     {"primary", replica(slot.primary)},
                     {"backup", replica(slot.backup)},
                     {"learner", replica(slot.learner)}});
  }
  return Json{{"version", map.version}, {"slots", slots}}.dump();
}

absl::StatusOr<ShardMap> MapFromJson(const std::string& text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  try {
    ShardMap map;
    map.version = json.at("version").get<uint64_t>();
    const auto replica = [](const Json& r) {
      return Replica{r.at(0).get<std::string>(), r.at(1).get<uint64_t>()};
    };
    for (const Json& slot : json.at("slots")) {
      map.slots.push_back(
          {slot.at("epoch").get<uint64_t>(),
           slot.at("lineage").get<uint64_t>(),
           {slot.at("buckets").at(0).get<int64_t>(), slot.at("buckets").at(1).get<int64_t>()},
           replica(slot.at("primary")),
           replica(slot.at("backup")),
           replica(slot.at("learner"))});
    }
    return map;
  } catch (const Json::exception& error) {
    return DataError("not a shard map: ", error.what());
  }
}

}  // namespace mixrec::ps
