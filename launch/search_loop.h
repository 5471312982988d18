// The trials of a search, one after another, around any objective.
#pragma once

#include <functional>
#include <ostream>

#include "bo_driver/study_runner.h"
#include "common/status.h"

namespace mixrec::launch {

// Trains and scores a trial; it may report epochs to the study, which may end the trial then.
// StoppedError when asked to stop: the trial stays running and is given out again. MemoryError and
// FailureError (a loss that is not a number) fail the trial; anything else ends the search.
using Objective = std::function<absl::StatusOr<double>(const bo_driver::Trial& trial)>;

// Runs trials until the budget is finished or somebody asks to stop (StoppedError); prints two
// lines a trial.
absl::Status RunTrials(bo_driver::Study* study, const Objective& objective, std::ostream& out);

}  // namespace mixrec::launch
