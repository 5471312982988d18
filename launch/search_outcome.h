// What is left of a search when it is done.
#pragma once

#include "launch/program.h"
#include "launch/run_folder.h"
#include "scheduler/journal.h"

namespace mixrec::launch {

// Writes the report, trials.csv and best.flags into the run, prints the table of the best, and
// removes the checkpoints of trials that have ended. FailureError when no trial was complete.
absl::Status ConcludeSearch(const Invocation& invocation, const scheduler::StudyRecord& study,
                            RunFolder* run);

// ConcludeSearch where the search ended well. Where it failed, the report and trials.csv tell why,
// as far as they can be written. Returns what the search came to.
absl::Status EndSearch(const Invocation& invocation, const absl::Status& status,
                       const scheduler::StudyRecord& study, RunFolder* run);

}  // namespace mixrec::launch
