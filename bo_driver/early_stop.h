// Which trials are hopeless by their scores so far.
#pragma once

#include <optional>
#include <string_view>

#include "common/status.h"
#include "scheduler/journal.h"
#include "scheduler/strategy.h"

namespace mixrec::bo_driver {

// A trial's score at an epoch is the best of its epochs until then.
//
// median: worse than the median of the complete trials at the same epoch; asked from the fifth
// complete trial on. asha (Li et al. 2020, "A system for massively parallel hyperparameter
// tuning"): at the epochs 1, 3, 9, ... not among the best third of all trials that came so far;
// asked from the third of them on.
enum class EarlyStopRule { kNone, kMedian, kAsha };
absl::StatusOr<EarlyStopRule> ParseEarlyStopRule(std::string_view name);  // "none|median|asha"
std::string_view EarlyStopRuleName(EarlyStopRule rule);

// Whether `trial`, after its latest epoch, should end; its score so far is its result. `epochs`: of
// a whole trial; its last one is never stopped. A function of the journal alone.
std::optional<scheduler::EarlyStop> HopelessNow(EarlyStopRule rule, int epochs,
                                                const scheduler::StudyRecord& study,
                                                const scheduler::TrialRecord& trial);

}  // namespace mixrec::bo_driver
