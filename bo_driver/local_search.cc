#include <algorithm>

#include "bo_driver/acquisition.h"

namespace mixrec::bo_driver {
namespace {

constexpr int kMutations = 40;  // of each promising point
constexpr int kRandomPoints = 512;
constexpr size_t kStarts = 12;
constexpr double kMutationRate = 2.0;  // expected changes a mutation

Point Mutation(const SearchSpace& space, const Point& point, RandomStream& stream) {
  Point mutated = point;
  for (int i = 0; i < space.dimensions(); ++i) {
    if (stream.Uniform() * space.dimensions() >= kMutationRate) continue;
    // Any other level, each with the same probability.
    const uint64_t others = static_cast<uint64_t>(space.levels(i) - 1);
    uint8_t& level = mutated[static_cast<size_t>(i)];
    level = static_cast<uint8_t>((level + 1 + stream.Below(others)) %
                                 static_cast<uint64_t>(space.levels(i)));
  }
  return mutated;
}

// Sorted and without repetitions or points that are not open, so that the order never depends on
// chance.
std::vector<Point> Open(const AcquisitionProblem& problem, std::vector<Point> points) {
  for (Point& point : points) point = problem.space->Canonical(std::move(point));
  std::sort(points.begin(), points.end());
  points.erase(std::unique(points.begin(), points.end()), points.end());
  points.erase(std::remove_if(points.begin(), points.end(),
                              [&](const Point& point) { return !problem.IsOpen(point); }),
               points.end());
  return points;
}

}  // namespace

Candidate Climb(const AcquisitionProblem& problem, std::vector<Candidate> active) {
  Candidate best;
  for (const Candidate& start : active) {
    if (start.acquisition > best.acquisition) best = start;
  }
  std::set<Point> visited;  // two climbs that meet go on as one
  while (!active.empty()) {
    std::vector<Point> neighbours;
    std::vector<size_t> ends;
    for (const Candidate& climber : active) {
      for (Point& neighbour : problem.space->Neighbours(climber.point)) {
        if (problem.IsOpen(neighbour)) neighbours.push_back(std::move(neighbour));
      }
      ends.push_back(neighbours.size());
    }
    if (neighbours.empty()) break;
    const Eigen::VectorXd values = (*problem.acquisition)(neighbours);
    std::vector<Candidate> still;
    for (size_t a = 0; a < active.size(); ++a) {
      Candidate next = active[a];
      for (size_t i = a == 0 ? 0 : ends[a - 1]; i < ends[a]; ++i) {
        const double value = values[static_cast<Eigen::Index>(i)];
        // A gain below rounding would let two climbs chase each other for ever.
        if (value > next.acquisition + 1e-12) next = {neighbours[i], value};
      }
      const bool moved = next.acquisition > active[a].acquisition;
      if (next.acquisition > best.acquisition) best = next;
      if (moved && visited.insert(next.point).second) still.push_back(std::move(next));
    }
    active = std::move(still);
  }
  return best;
}

Candidate LocalSearch(const AcquisitionProblem& problem, RandomStream stream) {
  std::vector<Point> points;
  for (const Point& promising : problem.promising) {
    for (int i = 0; i < kMutations; ++i) {
      points.push_back(Mutation(*problem.space, promising, stream));
    }
  }
  for (int i = 0; i < kRandomPoints; ++i) points.push_back(problem.space->Random(stream));
  points = Open(problem, std::move(points));
  if (points.empty()) return {};
  const Eigen::VectorXd values = (*problem.acquisition)(points);
  std::vector<Candidate> starts;
  for (size_t i = 0; i < points.size(); ++i) {
    starts.push_back({std::move(points[i]), values[static_cast<Eigen::Index>(i)]});
  }
  const size_t kept = std::min(kStarts, starts.size());
  std::partial_sort(starts.begin(), starts.begin() + static_cast<std::ptrdiff_t>(kept),
                    starts.end(), [](const Candidate& a, const Candidate& b) {
                      if (a.acquisition != b.acquisition) return a.acquisition > b.acquisition;
                      return a.point < b.point;
                    });
  starts.resize(kept);
  return Climb(problem, std::move(starts));
}

}  // namespace mixrec::bo_driver
