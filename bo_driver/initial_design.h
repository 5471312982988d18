// The points before the surrogate speaks: baselines, the best of an earlier study, random ones.
#pragma once

#include <string>
#include <vector>

#include "bo_driver/driver_options.h"
#include "bo_driver/search_space.h"

namespace mixrec::bo_driver {

// Size of the initial design: 10, or a third of a budget under 30; at least `groups`, and at least
// the number of baselines. 3 for climb, 1 for random (which has no model to feed).
int InitialPoints(const SearchSpace& space, const DriverOptions& options);

// The points that are known beforehand, feasible, in canonical form and without repetitions.
struct KnownPoint {
  Point point;
  std::string source;  // "baseline" or "prior"
};
std::vector<KnownPoint> KnownPoints(const SearchSpace& space, const DriverOptions& options);

}  // namespace mixrec::bo_driver
