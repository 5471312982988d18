#include "bo_driver/search_space.h"

#include <gtest/gtest.h>

#include <set>

namespace mixrec::bo_driver {
namespace {

SearchSpace Mixed() { return {6, 3, {LogOrdinal("width", {16, 32, 64})}}; }

TEST(SearchSpace, TextAndParseAreInverse) {
  const SearchSpace space = Mixed();
  const Point point = {0, 1, 1, 0, 0, 1, 2};
  EXPECT_EQ(space.Text(point), "011001,2");
  EXPECT_EQ(space.Parse("011001,2").value(), point);
}

TEST(SearchSpace, MalformedPointsAreUsageErrors) {
  for (const char* text : {"", "011001", "011001,3", "01100,2", "0110012", "01100x,1", "011001,",
                           "011001,1,1", "011001,0001"}) {
    EXPECT_EQ(ExitCodeOf(Mixed().Parse(text).status()), kExitUsage) << text;
  }
}

TEST(SearchSpace, NeighboursDifferInOneDimensionAndAreAll) {
  const SearchSpace space = Mixed();
  const Point point = space.AllSerial();
  std::set<Point> neighbours;
  for (const Point& neighbour : space.Neighbours(point)) {
    int changes = 0;
    for (size_t i = 0; i < point.size(); ++i) changes += neighbour[i] != point[i];
    EXPECT_EQ(changes, 1);
    EXPECT_TRUE(space.Contains(neighbour));
    neighbours.insert(neighbour);
  }
  EXPECT_EQ(neighbours.size(), 6u + 2u);
}

TEST(SearchSpace, OrdinalCoordinatesFillTheUnitInterval) {
  const Ordinal even = EvenOrdinal("r", {1, 2, 3, 4, 6});
  EXPECT_EQ(even.coordinates, (std::vector<double>{0, 0.25, 0.5, 0.75, 1}));
  const Ordinal log = LogOrdinal("width", {16, 32, 64});
  EXPECT_DOUBLE_EQ(log.coordinates[0], 0);
  EXPECT_DOUBLE_EQ(log.coordinates[1], 0.5);
  EXPECT_DOUBLE_EQ(log.coordinates[2], 1);
}

}  // namespace
}  // namespace mixrec::bo_driver
