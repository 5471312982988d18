// The open point that the surrogate likes best.
#pragma once

#include <string>

#include "bo_driver/acquisition.h"
#include "bo_driver/driver_options.h"
#include "bo_driver/history.h"
#include "bo_driver/surrogate.h"

namespace mixrec::bo_driver {

struct ModelSuggestion {
  Candidate candidate;  // not found: no open point was met
  std::string source;   // "local", "pr" or "near", the maximiser that found it
};

// Maximises the acquisition function by what the method says, among open points; but among all that
// differ from the best in two dimensions at most where the surrogate explains little. The surrogate
// is fitted and believes in the pending points. Random numbers come from the seed and
// history.size().
ModelSuggestion SuggestByModel(const History& history, const Surrogate& surrogate,
                               const DriverOptions& options);

// The random numbers of one purpose in the choice of the next point.
RandomStream ChoiceStream(const DriverOptions& options, std::string_view purpose,
                          const History& history);

}  // namespace mixrec::bo_driver
