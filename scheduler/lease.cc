#include "scheduler/lease.h"

#include <string_view>

namespace mixrec::scheduler {
namespace {

using nlohmann::json;

constexpr GroupState kGroupStates[] = {GroupState::kAlive, GroupState::kLost, GroupState::kLeft};
constexpr StudyPhase kPhases[] = {StudyPhase::kRunning, StudyPhase::kFinished, StudyPhase::kStopped,
                                  StudyPhase::kFailed};

// Others may write attributes of these names: what does not fit becomes the default.
template <typename T>
T Field(const json& object, const char* name, T fallback) {
  const auto found = object.find(name);
  if (found == object.end()) return fallback;
  if constexpr (std::is_same_v<T, std::string>) {
    return found->is_string() ? found->template get<T>() : fallback;
  } else {
    return found->is_number_integer() ? found->template get<T>() : fallback;
  }
}

Lease LeaseFromJson(const json& object) {
  Lease lease;
  if (!object.is_object()) return lease;
  lease.group = Field<std::string>(object, "group", "");
  lease.incarnation = Field<uint64_t>(object, "incarnation", 0);
  lease.attempt = Field(object, "attempt", 0);
  lease.retries = Field(object, "retries", 0);
  lease.epochs = Field(object, "epochs", 0);
  lease.last = Field<std::string>(object, "last", "");
  lease.why = Field<std::string>(object, "why", "");
  lease.avoid = Field<std::string>(object, "avoid", "");
  lease.at = Field<std::string>(object, "at", "");
  return lease;
}

GroupRecord GroupFromJson(std::string name, const json& object) {
  GroupRecord group;
  group.name = std::move(name);
  group.incarnation = Field<uint64_t>(object, "incarnation", 0);
  group.slots = Field(object, "slots", 1);
  group.ranks = Field(object, "ranks", 1);
  group.host = Field<std::string>(object, "host", "");
  group.device = Field<std::string>(object, "device", "");
  group.process = Field<int64_t>(object, "process", 0);
  group.at = Field<std::string>(object, "at", "");
  const std::string state = Field<std::string>(object, "state", "");
  for (const GroupState known : kGroupStates) {
    if (GroupStateName(known) == state) group.state = known;
  }
  return group;
}

}  // namespace

json LeaseToJson(const Lease& lease) {
  json object{{"group", lease.group},     {"incarnation", lease.incarnation},
              {"attempt", lease.attempt}, {"retries", lease.retries},
              {"epochs", lease.epochs},   {"at", lease.at}};
  if (!lease.last.empty()) object["last"] = lease.last;
  if (!lease.why.empty()) object["why"] = lease.why;
  if (!lease.avoid.empty()) object["avoid"] = lease.avoid;
  return object;
}

Lease LeaseOf(const TrialRecord& trial) {
  const auto found = trial.attributes.find(kLeaseAttribute);
  return found == trial.attributes.end() ? Lease{} : LeaseFromJson(found->second);
}

std::vector<Lease> LeasesOf(const TrialRecord& trial) {
  std::vector<Lease> leases;
  for (const auto& [key, value] : trial.changes) {
    if (key == kLeaseAttribute) leases.push_back(LeaseFromJson(value));
  }
  return leases;
}

std::string GroupStateName(GroupState state) {
  return state == GroupState::kAlive ? "alive" : state == GroupState::kLost ? "lost" : "left";
}

json GroupToJson(const GroupRecord& group) {
  return {{"incarnation", group.incarnation},
          {"state", GroupStateName(group.state)},
          {"slots", group.slots},
          {"ranks", group.ranks},
          {"host", group.host},
          {"device", group.device},
          {"process", group.process},
          {"at", group.at}};
}

std::map<std::string, GroupRecord> GroupsOf(const StudyRecord& study) {
  constexpr std::string_view kPrefix = kGroupPrefix;
  std::map<std::string, GroupRecord> groups;
  for (const auto& [key, value] : study.attributes) {
    if (key.compare(0, kPrefix.size(), kPrefix) != 0 || !value.is_object()) continue;
    const std::string name = key.substr(kPrefix.size());
    groups[name] = GroupFromJson(name, value);
  }
  return groups;
}

std::string FailureName(Failure failure) {
  switch (failure) {
    case Failure::kMemory:
      return "memory";
    case Failure::kNotFinite:
      return "not finite";
    case Failure::kRefused:
      return "refused";
    case Failure::kTransient:
      return "transient";
    case Failure::kLost:
      return "lost";
  }
  return "unknown";
}

std::string StudyPhaseName(StudyPhase phase) {
  switch (phase) {
    case StudyPhase::kRunning:
      return "running";
    case StudyPhase::kFinished:
      return "finished";
    case StudyPhase::kStopped:
      return "stopped";
    case StudyPhase::kFailed:
      return "failed";
  }
  return "unknown";
}

json StatusToJson(const StudyStatus& status) {
  json object{{"phase", StudyPhaseName(status.phase)}, {"at", status.at}};
  if (!status.reason.empty()) object["reason"] = status.reason;
  return object;
}

std::optional<StudyStatus> StatusOf(const StudyRecord& study) {
  const auto found = study.attributes.find(kStatusAttribute);
  if (found == study.attributes.end() || !found->second.is_object()) return std::nullopt;
  StudyStatus status;
  status.reason = Field<std::string>(found->second, "reason", "");
  status.at = Field<std::string>(found->second, "at", "");
  const std::string phase = Field<std::string>(found->second, "phase", "");
  for (const StudyPhase known : kPhases) {
    if (StudyPhaseName(known) == phase) status.phase = known;
  }
  return status;
}

}  // namespace mixrec::scheduler
