// Bit-flip hill climbing on the objective itself: what the surrogate has to beat.
#pragma once

#include <optional>

#include "bo_driver/history.h"

namespace mixrec::bo_driver {

// A random open neighbour of the best point; from a local optimum, a jump of three changes. nullopt
// before the first result, and when no such jump is open.
std::optional<Point> HillClimb(const History& history, RandomStream stream);

}  // namespace mixrec::bo_driver
