// What groups and the scheduler say to each other: everything, every time. Plain structs; their
// bytes are made and checked in scheduler/codec.h.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "common/status.h"
#include "net/actor.h"
#include "scheduler/lease.h"

namespace mixrec::scheduler {

struct Score {
  int epoch = 0;  // from 1
  double value = 0;
};

// How an attempt ended.
struct Outcome {
  enum class Kind : uint8_t {
    kNone,      // it has not
    kDone,      // with a score
    kFailed,    // see `failure`
    kReleased,  // stopped on request, with a checkpoint: somebody else goes on
  };
  Kind kind = Kind::kNone;
  double value = 0;    // of kDone
  double seconds = 0;  // this attempt took
  Failure failure = Failure::kTransient;
  std::string reason, log;  // of kFailed; `log`: the end of its log
};

struct TrialAttempt {
  int trial = 0, attempt = 0;
};
inline bool operator<(const TrialAttempt& a, const TrialAttempt& b) {
  return a.trial != b.trial ? a.trial < b.trial : a.attempt < b.attempt;
}
inline bool operator==(const TrialAttempt& a, const TrialAttempt& b) {
  return a.trial == b.trial && a.attempt == b.attempt;
}

// An attempt that a group has not been told to forget.
struct HeldTrial {
  TrialAttempt id;
  std::vector<Score> scores;  // that the scheduler has not yet
  Outcome outcome;
};

// Group to scheduler.
struct GroupReport {
  GroupRecord group;      // state: alive, or left when it will not come back
  uint64_t sequence = 0;  // of this incarnation's reports; an older one is ignored
  std::string settings;   // what it was set up for; empty: it asks what the study is
  bool ready = false;     // it can take trials
  std::vector<HeldTrial> trials;
};

// A trial that a group should be working on.
struct LeasedTrial {
  TrialAttempt id;
  std::string work;     // Strategy::Work
  int known_epoch = 0;  // scores up to this epoch are in the journal
};

// Scheduler to group.
struct Assignment {
  uint64_t incarnation = 0, number = 0;  // of the scheduler; an older one is ignored
  uint64_t group_incarnation = 0;        // whom it is for
  uint64_t heard = 0;                    // sequence of the last report that it knows
  double lease_seconds = 30, heartbeat_seconds = 5;
  std::string refused;  // why this group may not work here; empty: it may
  std::string study;    // SchedulerOptions::study
  StudyPhase phase = StudyPhase::kRunning;
  std::string reason;                 // of the phase
  std::vector<LeasedTrial> trials;    // anything else the group drops
  std::vector<TrialAttempt> settled;  // outcomes to forget
};

using Body = std::variant<GroupReport, Assignment>;

}  // namespace mixrec::scheduler
