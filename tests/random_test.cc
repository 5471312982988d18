#include "common/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace mixrec {
namespace {

TEST(RandomStream, IsSplitmix64) {
  // First outputs of the reference splitmix64 started at state 1001.
  RandomStream stream(1001);
  EXPECT_EQ(stream.Next(), 0x533e00f7f3c606d4ull);
}

TEST(RandomStream, BelowStaysBelowAndReachesEveryValue) {
  RandomStream stream(HashKey(7, "below"));
  std::set<uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t value = stream.Below(10);
    ASSERT_LT(value, 10u);
    seen.insert(value);
  }
  EXPECT_EQ(seen.size(), 10u);
}

TEST(RandomStream, NormalHasMeanZeroAndVarianceOne) {
  RandomStream stream(3);
  double sum = 0, squares = 0;
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) {
    const double value = stream.Normal();
    sum += value;
    squares += value * value;
  }
  EXPECT_NEAR(sum / kDraws, 0.0, 0.02);
  EXPECT_NEAR(squares / kDraws, 1.0, 0.02);
}

TEST(HashKey, DependsOnEveryPartAndOnTheirOrder) {
  const std::set<uint64_t> keys = {HashKey(1, "a", 2), HashKey(1, "a", 3), HashKey(1, "b", 2),
                                   HashKey(2, "a", 2), HashKey(1, 2, "a"), HashKey(1, "a", 2, 0)};
  EXPECT_EQ(keys.size(), 6u);
}

}  // namespace
}  // namespace mixrec
