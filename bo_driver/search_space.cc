#include "bo_driver/search_space.h"

#include <cmath>
#include <utility>

#include "common/log.h"

namespace mixrec::bo_driver {

Ordinal EvenOrdinal(std::string name, std::vector<double> values) {
  CHECK_GE(values.size(), 2u) << "an ordinal dimension needs two levels or more";
  Ordinal ordinal{std::move(name), std::move(values), {}};
  const double last = static_cast<double>(ordinal.values.size() - 1);
  for (size_t i = 0; i < ordinal.values.size(); ++i) {
    ordinal.coordinates.push_back(static_cast<double>(i) / last);
  }
  return ordinal;
}

Ordinal LogOrdinal(std::string name, std::vector<double> values) {
  CHECK_GE(values.size(), 2u) << "an ordinal dimension needs two levels or more";
  CHECK_GT(values.front(), 0) << "a logarithmic dimension needs positive levels";
  Ordinal ordinal{std::move(name), std::move(values), {}};
  const double span = std::log(ordinal.values.back() / ordinal.values.front());
  for (double value : ordinal.values) {
    ordinal.coordinates.push_back(std::log(value / ordinal.values.front()) / span);
  }
  return ordinal;
}

int SearchSpace::levels(int dimension) const {
  if (dimension < bits) return 2;
  return static_cast<int>(ordinals[static_cast<size_t>(dimension - bits)].values.size());
}

double SearchSpace::Coordinate(int dimension, int level) const {
  if (dimension < bits) return level;
  return ordinals[static_cast<size_t>(dimension - bits)].coordinates[static_cast<size_t>(level)];
}

double SearchSpace::size() const {
  double product = 1;
  for (int i = 0; i < dimensions(); ++i) product *= levels(i);
  return product;
}

bool SearchSpace::Contains(const Point& point) const {
  if (static_cast<int>(point.size()) != dimensions()) return false;
  for (int i = 0; i < dimensions(); ++i) {
    if (point[static_cast<size_t>(i)] >= levels(i)) return false;
  }
  return true;
}

Point SearchSpace::AllSerial() const { return Point(static_cast<size_t>(dimensions()), 0); }

Point SearchSpace::AllParallel() const {
  Point point = AllSerial();
  std::fill(point.begin(), point.begin() + bits, uint8_t{1});
  return point;
}

Point SearchSpace::Random(RandomStream& stream) const {
  Point point = AllSerial();
  for (int i = 0; i < dimensions(); ++i) {
    point[static_cast<size_t>(i)] =
        static_cast<uint8_t>(stream.Below(static_cast<uint64_t>(levels(i))));
  }
  return point;
}

std::vector<Point> SearchSpace::Neighbours(const Point& point) const {
  std::vector<Point> neighbours;
  for (int i = 0; i < dimensions(); ++i) {
    for (int level = 0; level < levels(i); ++level) {
      if (level == point[static_cast<size_t>(i)]) continue;
      neighbours.push_back(point);
      neighbours.back()[static_cast<size_t>(i)] = static_cast<uint8_t>(level);
    }
  }
  return neighbours;
}

std::string SearchSpace::Text(const Point& point) const {
  std::string text;
  for (int i = 0; i < bits; ++i) text += point[static_cast<size_t>(i)] ? '1' : '0';
  for (int i = bits; i < dimensions(); ++i) {
    text += ',';
    text += std::to_string(point[static_cast<size_t>(i)]);
  }
  return text;
}

absl::StatusOr<Point> SearchSpace::Parse(std::string_view text) const {
  const auto wrong = [&] {
    return UsageError("architecture \"", text, "\": expected ", bits, " characters 0 or 1",
                      ordinals.empty() ? "" : " and a level for each ordinal dimension");
  };
  Point point;
  size_t position = 0;
  for (; position < text.size() && static_cast<int>(position) < bits; ++position) {
    if (text[position] != '0' && text[position] != '1') return wrong();
    point.push_back(text[position] == '1');
  }
  while (position < text.size()) {
    if (text[position++] != ',') return wrong();
    int level = 0;
    const size_t begin = position;
    while (position < text.size() && text[position] >= '0' && text[position] <= '9' &&
           position - begin < 3) {
      level = level * 10 + (text[position++] - '0');
    }
    if (position == begin || level > 255) return wrong();
    point.push_back(static_cast<uint8_t>(level));
  }
  if (!Contains(point)) return wrong();
  return point;
}

}  // namespace mixrec::bo_driver
