// What the journal says of worker groups and of who has which trial: user attributes of study and
// trials (docs/journal.md), so that no record of it is unknown to Optuna.
//
// A trial stays RUNNING from its creation to its result, through all its attempts. Its lease says
// who works on it; the journal gets a record when the lease changes, never for a heartbeat.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "scheduler/journal.h"

namespace mixrec::scheduler {

// Attributes of a trial.
inline constexpr char kLeaseAttribute[] = "lease";         // Lease
inline constexpr char kReasonAttribute[] = "reason";       // text: why it failed
inline constexpr char kFailureAttribute[] = "failure";     // text: FailureName of the class
inline constexpr char kLogAttribute[] = "log";             // text: the end of the failed run's log
inline constexpr char kSecondsAttribute[] = "seconds";     // number: the last attempt took
inline constexpr char kResultOfAttribute[] = "result_of";  // {"group", "attempt"}
inline constexpr char kEarlyStopAttribute[] = "early_stop";  // {"epoch", "rule"}: it ended there
// Attributes of the study.
inline constexpr char kGroupPrefix[] = "group:";      // "group:NAME": GroupRecord
inline constexpr char kStatusAttribute[] = "status";  // StudyStatus
inline constexpr char kBudgetAttribute[] = "trials";  // number: trials wanted in total

// Who works on a trial. Nobody: it waits for a group.
struct Lease {
  std::string group;         // empty: nobody
  uint64_t incarnation = 0;  // of the group
  int attempt = 0;           // 1, 2, ...: goes up with every grant to another incarnation
  int retries = 0;           // attempts that failed or were lost since the last finished epoch
  int epochs = 0;            // finished when it was granted
  std::string last;          // of a trial that nobody has: whose it was
  std::string why;           // why nobody has it: "group g1 was lost", ...
  std::string avoid;         // a group that failed with it; it goes elsewhere if there is anybody
  std::string at;            // ISO 8601, UTC

  bool held() const { return !group.empty(); }
};
nlohmann::json LeaseToJson(const Lease& lease);
// A trial without one has the default, attempt 0.
Lease LeaseOf(const TrialRecord& trial);
// All its leases, oldest first: what a timeline of the groups shows.
std::vector<Lease> LeasesOf(const TrialRecord& trial);

enum class GroupState { kAlive, kLost, kLeft };
std::string GroupStateName(GroupState state);  // "alive", "lost", "left"

// A worker group. One name is one place for a group; who starts again there has a larger
// incarnation.
struct GroupRecord {
  std::string name;
  uint64_t incarnation = 0;
  GroupState state = GroupState::kAlive;
  int slots = 1, ranks = 1;
  std::string host, device;  // "cpu, fp32, 2 threads"
  int64_t process = 0;       // rank 0's, on the host
  std::string at;            // of this state; ISO 8601, UTC
};
nlohmann::json GroupToJson(const GroupRecord& group);
// By name. Attributes that are no groups are left out.
std::map<std::string, GroupRecord> GroupsOf(const StudyRecord& study);

// Why a trial failed. The first three are its own doing and are not tried again.
enum class Failure { kMemory, kNotFinite, kRefused, kTransient, kLost };
std::string FailureName(Failure failure);  // "memory", "not finite", "refused", "transient", "lost"
inline bool IsDeterministic(Failure failure) { return failure <= Failure::kRefused; }

enum class StudyPhase { kRunning, kFinished, kStopped, kFailed };
std::string StudyPhaseName(StudyPhase phase);  // "running", "finished", "stopped", "failed"
struct StudyStatus {
  StudyPhase phase = StudyPhase::kRunning;
  std::string reason;  // why it stopped or failed
  std::string at;      // ISO 8601, UTC
};
nlohmann::json StatusToJson(const StudyStatus& status);
// nullopt: a study that never had a scheduler.
std::optional<StudyStatus> StatusOf(const StudyRecord& study);

}  // namespace mixrec::scheduler
