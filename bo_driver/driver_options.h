// What a search is asked to do.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "bo_driver/prior.h"
#include "bo_driver/search_space.h"

namespace mixrec::bo_driver {

// auto: the better of pr and local; pr: probabilistic reparameterization alone; local: local search
// on the acquisition alone; climb: bit-flip hill climbing on the objective; random.
enum class Method { kAuto, kPr, kLocal, kClimb, kRandom };
absl::StatusOr<Method> ParseMethod(std::string_view name);  // "auto|pr|local|climb|random"
std::string_view MethodName(Method method);

struct DriverOptions {
  Method method = Method::kAuto;
  uint64_t seed = 1;
  int budget = 30;                  // evaluations in total; decides the size of the initial design
  int groups = 1;                   // evaluations that run at the same time
  int initial = 0;                  // points before the surrogate; 0 = InitialPoints(...)
  bool serial_and_parallel = true;  // all serial and all parallel are the first two points
  std::vector<Point> baselines;     // further points to evaluate first
  // Of an earlier study: its best three are tried after the baselines, and the surrogate speaks as
  // soon as there are results.
  std::vector<PriorEvaluation> prior;
  // Whether a point may be tried at all, a constraint known beforehand; null: all may.
  std::function<bool(const Point&)> feasible;
};

}  // namespace mixrec::bo_driver
