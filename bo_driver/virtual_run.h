// A whole search of a test problem with q groups in virtual time (docs/search.md, "Run protocol").
#pragma once

#include <vector>

#include "bo_driver/driver.h"
#include "bo_driver/problems.h"

namespace mixrec::bo_driver {

struct VirtualRunOptions {
  Method method = Method::kAuto;
  uint64_t seed = 0;  // of the driver, the noise and the durations
  int groups = 1;
  int evaluations = 30;  // completed in the end
};

struct VirtualRunResult {
  Point incumbent;         // argmax of the observed values
  double observed = 0;     // its observed value
  double value = 0;        // its noiseless value
  double ask_seconds = 0;  // mean CPU time of one Ask, refit included
  double slowest_ask_seconds = 0;
  std::vector<double> curve;  // the incumbent's noiseless value after 1, 2, ... results
};

// A free group asks at once; the k-th started evaluation lasts VirtualDuration(seed, k); the noise
// of a result goes by the order of completion.
VirtualRunResult RunVirtually(const Problem& problem, const VirtualRunOptions& options);

}  // namespace mixrec::bo_driver
