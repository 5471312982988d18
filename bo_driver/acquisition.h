// Log expected improvement, and what the maximisers of it share.
#pragma once

#include <Eigen/Dense>
#include <functional>
#include <limits>
#include <set>
#include <vector>

#include "bo_driver/gaussian_process.h"
#include "bo_driver/search_space.h"

namespace mixrec::bo_driver {

// ln(E[max(0, f - best)] / sd) for f ~ N, as a function of z = (mean - best) / sd; accurate for
// every z (Ament et al. 2023, "Unexpected improvements to expected improvement").
double LogImprovement(double z);

// The acquisition function; higher is better.
class LogExpectedImprovement {
 public:
  // Points that mean the same (SearchSpace::canonical) have the same value.
  LogExpectedImprovement(const GaussianProcess* process, double best)
      : process_(process), best_(best) {}
  Eigen::VectorXd operator()(const std::vector<Point>& points) const;

 private:
  const GaussianProcess* process_;
  double best_;  // standardised
};

// The problem of one suggestion.
struct AcquisitionProblem {
  const SearchSpace* space;
  const LogExpectedImprovement* acquisition;
  const std::set<Point>* taken;  // evaluated and pending, in canonical form: excluded
  std::vector<Point> promising;  // evaluated points with the best posterior means, best first
  int conditioned = 0;           // points that the process is conditioned on: the cost of a value
  std::function<bool(const Point&)> feasible = nullptr;  // null: all are; gets canonical points

  bool IsOpen(const Point& point) const {
    const Point canonical = space->Canonical(point);
    return taken->count(canonical) == 0 && (!feasible || feasible(canonical));
  }
};

struct Candidate {
  Point point;  // empty: none found
  double acquisition = -std::numeric_limits<double>::infinity();
  bool found() const { return !point.empty(); }
};

// Best-improvement 1-exchange (bit flips; ordinals: any other level) from each start, all at once,
// among points that are not taken. Starts are untaken points.
Candidate Climb(const AcquisitionProblem& problem, std::vector<Candidate> starts);

// Mutations of the promising points and random points; the best of them climb.
Candidate LocalSearch(const AcquisitionProblem& problem, RandomStream stream);

}  // namespace mixrec::bo_driver
