// A study as people look at it: what `mixrec status`, the live page and the report show. Copies, so
// that another thread may keep one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "scheduler/journal.h"
#include "scheduler/lease.h"

namespace mixrec::scheduler {

struct GroupView {
  GroupRecord record;
  std::optional<double> silent_seconds;  // since its last word; only a running scheduler knows
  std::vector<int> trials;               // that it has leases of
  int results = 0;                       // that came from it
};

struct StudyView {
  StudyRecord study;
  StudyStatus status;             // "running" for a study without one
  std::vector<GroupView> groups;  // by name; none in a study of one process
  int wanted = 0;                 // trials in total; 0: not known
  int finished = 0;               // complete and pruned
  int complete = 0, pruned = 0, failed = 0;
  int running = 0;  // somebody has them
  int waiting = 0;  // begun, and nobody has them now
  // Of the trials that are missing, at the pace so far and with the groups alive now; nullopt
  // before the first result.
  std::optional<double> seconds_left;
};

// From the journal alone.
StudyView ViewOf(const StudyRecord& study);

// ISO 8601 in UTC, as the journal has it, to seconds since 1970; nullopt when it is none.
std::optional<double> SecondsOf(const std::string& utc);

}  // namespace mixrec::scheduler
