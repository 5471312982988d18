#include "launch/ps_supervisor.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "common/log.h"
#include "ps/codec.h"

namespace mixrec::launch {
namespace {

using Json = nlohmann::ordered_json;

bool Exists(const ps::Replica& replica) { return !replica.endpoint.empty(); }

}  // namespace

PsSupervisor::PsSupervisor(PsSupervisorOptions options, ShardProcesses* processes)
    : options_(std::move(options)), processes_(processes), authority_(options_.authority) {}

void PsSupervisor::Start(net::Outbox* out) {
  authority_.Start(out);
  Tick(out);
}

void PsSupervisor::Receive(const net::Peer& from, const net::Message& message, net::Outbox* out) {
  const bool news = Note(message);
  authority_.Receive(from, message, out);
  if (news || authority_.map().version != printed_version_) Announce();
  out->WakeAt(next_look_);
}

void PsSupervisor::Tick(net::Outbox* out) {
  authority_.Tick(out);
  if (out->now() >= next_look_) {
    processes_->Maintain(out->now());
    next_look_ = out->now() + options_.poll;
  }
  if (authority_.map().version != printed_version_) Announce();
  out->WakeAt(next_look_);
}

bool PsSupervisor::Note(const net::Message& message) {
  const absl::StatusOr<ps::Wire> wire = ps::Decode(message);
  const auto* heartbeat = wire.ok() ? std::get_if<ps::Heartbeat>(&wire->body) : nullptr;
  if (heartbeat == nullptr) return false;
  const Member member{heartbeat->incarnation, heartbeat->slot_epoch};
  Member& known = members_[heartbeat->endpoint];
  if (!(known != member) || member.incarnation < known.incarnation) return false;
  known = member;
  return true;
}

bool PsSupervisor::WorksIn(const ps::Replica& replica, uint64_t epoch) const {
  const auto found = members_.find(replica.endpoint);
  return found != members_.end() && found->second.incarnation == replica.incarnation &&
         found->second.slot_epoch == epoch;
}

bool PsSupervisor::IsReady() const {
  const auto& slots = authority_.map().slots;
  return authority_.complete() && std::all_of(slots.begin(), slots.end(), [&](const auto& slot) {
           return WorksIn(slot.primary, slot.epoch) &&
                  (!Exists(slot.backup) || WorksIn(slot.backup, slot.epoch));
         });
}

void PsSupervisor::Announce() {
  const bool ready = IsReady();
  const uint64_t version = authority_.map().version;
  if (version == printed_version_ && ready == was_ready_) return;
  printed_version_ = version;
  was_ready_ = ready;
  if (ready && !said_ready_) {
    said_ready_ = true;
    *options_.out << "ps: ready: " << options_.authority.shards
                  << (options_.authority.shards == 1 ? " shard, " : " shards, ")
                  << options_.authority.replicas
                  << (options_.authority.replicas == 1 ? " backup" : " backups") << " each, at "
                  << options_.address << std::endl;
  }
  PrintMap(ready ? "ready" : "change");
}

void PsSupervisor::PrintMap(const char* event) const {
  const auto describe = [&](const ps::Replica& replica) {
    if (!Exists(replica)) return Json();
    Json json{{"endpoint", replica.endpoint}};
    // Of another host's processes the number is not known here.
    const pid_t pid = processes_->PidOf(replica.incarnation);
    if (pid != 0) json["pid"] = pid;
    return json;
  };
  Json slots = Json::array();
  for (const ps::ShardSlot& slot : authority_.map().slots) {
    slots.push_back({{"epoch", slot.epoch},
                     {"primary", describe(slot.primary)},
                     {"backup", describe(slot.backup)},
                     {"learner", describe(slot.learner)}});
  }
  *options_.out << Json{{"event", event},
                        {"authority", options_.address},
                        {"version", authority_.map().version},
                        {"shards", slots}}
                << std::endl;
}

}  // namespace mixrec::launch
