#include "bo_driver/initial_design.h"

#include <algorithm>
#include <utility>

#include "common/log.h"

namespace mixrec::bo_driver {
namespace {

constexpr int kDefaultInitial = 10;
constexpr size_t kPriorPoints = 3;  // the best of an earlier study, tried first

// What the user and the search itself want to see first.
std::vector<Point> Baselines(const SearchSpace& space, const DriverOptions& options) {
  std::vector<Point> baselines;
  if (options.serial_and_parallel) baselines = {space.AllSerial(), space.AllParallel()};
  baselines.insert(baselines.end(), options.baselines.begin(), options.baselines.end());
  for (const Point& point : baselines) {
    CHECK(space.Contains(point)) << "a baseline lies outside the search space";
  }
  return baselines;
}

// Of an earlier study, best first.
std::vector<Point> Ranked(std::vector<PriorEvaluation> prior) {
  std::stable_sort(prior.begin(), prior.end(),
                   [](const PriorEvaluation& a, const PriorEvaluation& b) {
                     return a.standardised > b.standardised;
                   });
  std::vector<Point> points;
  for (PriorEvaluation& evaluation : prior) points.push_back(std::move(evaluation.point));
  return points;
}

// Adds up to `most` of the points that are feasible and not there yet.
void AddNew(const SearchSpace& space, const DriverOptions& options, std::vector<Point> points,
            const std::string& source, size_t most, std::vector<KnownPoint>* known) {
  size_t added = 0;
  for (Point& point : points) {
    if (added == most) return;
    point = space.Canonical(std::move(point));
    if (options.feasible && !options.feasible(point)) continue;
    const bool repeated = std::any_of(known->begin(), known->end(), [&](const KnownPoint& earlier) {
      return earlier.point == point;
    });
    if (repeated) continue;
    known->push_back({std::move(point), source});
    ++added;
  }
}

int WantedPoints(const DriverOptions& options) {
  if (options.method == Method::kClimb) return 3;
  if (options.method == Method::kRandom) return 1;
  return options.budget < 30 ? (options.budget + 2) / 3 : kDefaultInitial;
}

}  // namespace

std::vector<KnownPoint> KnownPoints(const SearchSpace& space, const DriverOptions& options) {
  std::vector<KnownPoint> known;
  std::vector<Point> baselines = Baselines(space, options);
  const size_t all = baselines.size();
  AddNew(space, options, std::move(baselines), "baseline", all, &known);
  AddNew(space, options, Ranked(options.prior), "prior", kPriorPoints, &known);
  return known;
}

int InitialPoints(const SearchSpace& space, const DriverOptions& options) {
  const int known = static_cast<int>(KnownPoints(space, options).size());
  int points = options.initial;
  if (points <= 0) points = options.prior.empty() ? WantedPoints(options) : known;
  return std::max({points, options.groups, 2, known});
}

}  // namespace mixrec::bo_driver
