// Trials that are not tried because of what they would take.
#pragma once

#include "bo_driver/study_definition.h"
#include "launch/materials.h"

namespace mixrec::launch {

// --trial_memory_gib and --trial_tflop as what is feasible in the study, whose space is known.
// UsageError when no trial is. Needs the catalogue with a limit, and none without.
absl::Status LimitTrials(const Materials& materials, bo_driver::StudyOptions* options);

}  // namespace mixrec::launch
