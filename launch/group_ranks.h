// A worker group of several ranks, which train every trial together:
//
//   mpirun -n 2 mixrec worker --study=DIR
//
// The leader alone speaks with the scheduler, and tells the others what it hears.
#pragma once

#include <functional>
#include <string>

#include "common/status.h"
#include "launch/group_link.h"
#include "launch/group_service.h"
#include "launch/ranks.h"
#include "launch/recent_log.h"

namespace mixrec::launch {

// What stands for the end of the leader's line, where a study or a trial is waited for.
inline constexpr char kLineHasEnded[] = "end";

// What the leader hears, on every rank. `hear`, of the leader alone, waits a second or so and
// returns an empty text when there is nothing yet: it is asked again, and the others know that it
// is there. A request to stop that reached any rank becomes everybody's. `what` is for messages.
absl::StatusOr<std::string> HearTogether(const Ranks& ranks, const std::string& what,
                                         const std::function<std::string()>& hear);

// The scheduler's description of the study, or kLineHasEnded. `link`: null but for the leader.
absl::StatusOr<std::string> HearStudy(const Ranks& ranks, GroupLink* link);

// As ServeTrials, one trial at a time, for which all ranks call `run`; the scores and the end are
// the leader's to tell. A failure that all ranks agree on is the trial's, and the next one comes.
// Another one, as of a rank that has died, is returned: the group cannot go on.
absl::Status ServeTogether(const TrialFunction& run, const std::string& group, const Ranks& ranks,
                           const RecentLog& log, GroupLink* link);

}  // namespace mixrec::launch
