#include "bo_driver/hill_climb.h"

#include <utility>
#include <vector>

namespace mixrec::bo_driver {
namespace {

constexpr int kJumps = 100;  // attempts
constexpr int kChanges = 3;  // of a jump

std::vector<Point> OpenNeighbours(const History& history, const Point& point) {
  std::vector<Point> open;
  for (Point& neighbour : history.space().Neighbours(point)) {
    Point canonical = history.space().Canonical(std::move(neighbour));
    if (history.IsOpen(canonical)) open.push_back(std::move(canonical));
  }
  return open;
}

Point Jump(const SearchSpace& space, Point point, RandomStream* stream) {
  for (int change = 0; change < kChanges; ++change) {
    std::vector<Point> next = space.Neighbours(point);
    point = next[stream->Below(next.size())];
  }
  return space.Canonical(std::move(point));
}

}  // namespace

std::optional<Point> HillClimb(const History& history, RandomStream stream) {
  const int number = history.BestNumber();
  if (number < 0) return std::nullopt;
  const Point& best = history.entries()[static_cast<size_t>(number)].point;
  const std::vector<Point> neighbours = OpenNeighbours(history, best);
  if (!neighbours.empty()) return neighbours[stream.Below(neighbours.size())];
  for (int attempt = 0; attempt < kJumps; ++attempt) {
    Point jump = Jump(history.space(), best, &stream);
    if (history.IsOpen(jump)) return jump;
  }
  return std::nullopt;
}

}  // namespace mixrec::bo_driver
