// What is searched: binary dimensions in layers, and optional ordinal dimensions.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/random.h"
#include "common/status.h"

namespace mixrec::bo_driver {

// One level index a dimension: 0/1 for bits, 0..levels-1 for ordinals. Bits come first.
using Point = std::vector<uint8_t>;

// A dimension with ordered levels, e.g. the replacement frequency r.
struct Ordinal {
  std::string name;
  std::vector<double> values;       // what a level means, e.g. {1, 2, 3, 4, 6}
  std::vector<double> coordinates;  // where the surrogate puts it, in [0, 1]
};
// Levels spread evenly: coordinate = index / (levels - 1).
Ordinal EvenOrdinal(std::string name, std::vector<double> values);
// Coordinates by logarithm: log(value / first) / log(last / first), values > 0 and increasing.
Ordinal LogOrdinal(std::string name, std::vector<double> values);

struct SearchSpace {
  int bits = 0;            // layer-major, as in model/architecture.h
  int bits_per_layer = 3;  // bits % bits_per_layer == 0
  std::vector<Ordinal> ordinals;
  // The one point that stands for all that mean the same (some bits may say nothing at some levels
  // of an ordinal). Idempotent; null: every point stands for itself.
  std::function<Point(Point)> canonical = nullptr;

  Point Canonical(Point point) const {
    return canonical ? canonical(std::move(point)) : std::move(point);
  }
  int dimensions() const { return bits + static_cast<int>(ordinals.size()); }
  int layers() const { return bits / bits_per_layer; }
  int levels(int dimension) const;
  // The surrogate's coordinate of a level, in [0, 1].
  double Coordinate(int dimension, int level) const;
  // Number of points, as a double (2^72 does not fit an integer); those that mean the same count
  // each.
  double size() const;

  bool Contains(const Point& point) const;
  Point AllSerial() const;    // bits 0, ordinals at their first level
  Point AllParallel() const;  // bits 1, ordinals at their first level
  Point Random(RandomStream& stream) const;
  // All points that differ from `point` in one dimension.
  std::vector<Point> Neighbours(const Point& point) const;

  // "0101..." for bits, then ",level" for each ordinal. Parse is its inverse; UsageError otherwise.
  std::string Text(const Point& point) const;
  absl::StatusOr<Point> Parse(std::string_view text) const;
};

}  // namespace mixrec::bo_driver
