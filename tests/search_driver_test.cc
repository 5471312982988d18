#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "bo_driver/driver.h"

namespace mixrec::bo_driver {
namespace {

// Smooth enough to be learnt: counts agreements with a pattern.
double Score(const Point& point) {
  double score = 0;
  for (size_t i = 0; i < point.size(); ++i) score += point[i] == (i % 3 == 0) ? 1.0 : 0.0;
  return score / static_cast<double>(point.size());
}

DriverOptions Options(Method method, int groups = 1) {
  DriverOptions options;
  options.method = method;
  options.seed = 9;
  options.groups = groups;
  return options;
}

class EveryMethod : public ::testing::TestWithParam<Method> {};
INSTANTIATE_TEST_SUITE_P(Methods, EveryMethod,
                         ::testing::Values(Method::kAuto, Method::kPr, Method::kLocal,
                                           Method::kClimb, Method::kRandom));

TEST_P(EveryMethod, VisitsEveryPointOfASmallSpaceOnceAndThenSaysSo) {
  Driver driver({6, 3, {}}, Options(GetParam()));
  std::set<Point> seen;
  for (int number = 0; number < 64; ++number) {
    const std::optional<Suggestion> suggestion = driver.Ask();
    ASSERT_TRUE(suggestion.has_value()) << number;
    EXPECT_EQ(suggestion->number, number);
    EXPECT_TRUE(seen.insert(suggestion->point).second) << "suggested twice";
    driver.Tell(number, Score(suggestion->point));
  }
  EXPECT_FALSE(driver.Ask().has_value());
}

TEST_P(EveryMethod, PendingPointsAreNotSuggestedAgain) {
  Driver driver({9, 3, {EvenOrdinal("r", {1, 2, 3})}}, Options(GetParam(), 8));
  std::set<Point> seen;
  for (int number = 0; number < 8; ++number) {
    EXPECT_TRUE(seen.insert(driver.Ask()->point).second);
  }
  for (int number = 0; number < 16; ++number) {
    const std::vector<double> values = {0.1, 0.5, 0.2};
    driver.Tell(number, values[static_cast<size_t>(number % 3)]);
    EXPECT_TRUE(seen.insert(driver.Ask()->point).second);
  }
}

TEST_P(EveryMethod, ReplayedStudyMakesTheSameSuggestions) {
  const SearchSpace space{12, 3, {}};
  Driver driver(space, Options(GetParam(), 3));
  std::vector<Suggestion> history;
  for (int number = 0; number < 24; ++number) {
    history.push_back(*driver.Ask());
    if (number >= 2) driver.Tell(number - 2, Score(history[static_cast<size_t>(number - 2)].point));
  }
  for (int cut : {1, 9, 13, 22}) {
    Driver replayed(space, Options(GetParam(), 3));
    for (int number = 0; number < 24; ++number) {
      const Suggestion& expected = history[static_cast<size_t>(number)];
      if (number < cut) {
        replayed.Replay(expected);
      } else {
        const Suggestion suggestion = *replayed.Ask();
        EXPECT_EQ(suggestion.point, expected.point) << "cut " << cut << ", number " << number;
        EXPECT_EQ(suggestion.source, expected.source);
      }
      if (number >= 2) {
        replayed.Tell(number - 2, Score(history[static_cast<size_t>(number - 2)].point));
      }
    }
  }
}

TEST(Driver, LookingAtTheModelDoesNotChangeTheSearch) {
  const SearchSpace space{12, 3, {}};
  Driver quiet(space, Options(Method::kAuto)), watched(space, Options(Method::kAuto));
  for (int number = 0; number < 16; ++number) {
    const Point point = quiet.Ask()->point;
    EXPECT_EQ(watched.Ask()->point, point);
    quiet.Tell(number, Score(point));
    watched.Tell(number, Score(point));
    watched.Summary();
    watched.BestByMean();
    watched.BitEffects();
  }
}

TEST(Driver, BaselinesComeFirst) {
  DriverOptions options = Options(Method::kAuto);
  options.baselines = {{1, 0, 1, 0, 1, 0}, {0, 0, 0, 0, 0, 0}};  // the second repeats all serial
  Driver driver({6, 3, {}}, options);
  EXPECT_EQ(driver.Ask()->point, (Point{0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(driver.Ask()->point, (Point{1, 1, 1, 1, 1, 1}));
  const Suggestion third = *driver.Ask();
  EXPECT_EQ(third.point, (Point{1, 0, 1, 0, 1, 0}));
  EXPECT_EQ(third.source, "baseline");
  EXPECT_EQ(driver.Ask()->source, "random");
}

TEST(Driver, SmallBudgetsSpendAThirdOnTheInitialDesign) {
  DriverOptions options = Options(Method::kAuto);
  options.budget = 12;
  Driver driver({6, 3, {}}, options);
  EXPECT_EQ(driver.initial_points(), 4);
  int by_surrogate = 0;
  for (int number = 0; number < 12; ++number) {
    const Suggestion suggestion = *driver.Ask();
    by_surrogate += std::isfinite(suggestion.acquisition);
    driver.Tell(number, Score(suggestion.point));
  }
  EXPECT_EQ(by_surrogate, 8);
}

// How many of 20 points by the model are restricted to the best one's neighbourhood.
int NearSuggestions(double (*score)(const Point&)) {
  Driver driver({36, 3, {}}, Options(Method::kLocal));
  int near = 0;
  for (int number = 0; number < 30; ++number) {
    const Point best = number > 0 ? driver.BestObserved().point : Point(36, 0);
    const Suggestion suggestion = *driver.Ask();
    int changes = 0;
    for (size_t i = 0; i < 36; ++i) changes += suggestion.point[i] != best[i];
    near += suggestion.source == "near";
    EXPECT_TRUE(suggestion.source != "near" || changes <= 2) << changes;
    driver.Tell(number, score(suggestion.point));
  }
  return near;
}

TEST(Driver, StaysNearTheBestWhereTheModelExplainsLittle) {
  const auto lottery = [](const Point& point) {
    uint64_t key = 1;
    for (const uint8_t bit : point) key = HashKey(key, uint64_t{bit});
    return RandomStream(key).Uniform();
  };
  EXPECT_GE(NearSuggestions(lottery), 5);
  EXPECT_EQ(NearSuggestions(Score), 0);
}

TEST(Driver, FailuresAreLearntFrom) {
  // Every point with bit 0 set fails; the search turns away from them.
  Driver driver({12, 3, {}}, Options(Method::kLocal));
  int late_failures = 0;
  for (int number = 0; number < 40; ++number) {
    const Suggestion suggestion = *driver.Ask();
    if (suggestion.point[0] == 1) {
      driver.TellFailure(number);
      late_failures += number >= 20;
    } else {
      driver.Tell(number, Score(suggestion.point));
    }
  }
  EXPECT_LE(late_failures, 6);
}

TEST(Driver, AllFailuresAreSurvived) {
  Driver driver({6, 3, {}}, Options(Method::kAuto));
  for (int number = 0; number < 20; ++number) {
    ASSERT_EQ(driver.Ask()->number, number);
    driver.TellFailure(number);
  }
  EXPECT_EQ(driver.BestObserved().number, -1);
  EXPECT_FALSE(driver.Summary().fitted);
}

TEST(Driver, ConstantObjectiveIsSurvived) {
  Driver driver({9, 3, {}}, Options(Method::kAuto));
  for (int number = 0; number < 20; ++number) {
    ASSERT_TRUE(driver.Ask().has_value());
    driver.Tell(number, 0.25);
  }
  EXPECT_EQ(driver.BestObserved().value, 0.25);
}

TEST(Driver, EffectsHaveTheSignOfTheObjective) {
  Driver driver({6, 3, {}}, Options(Method::kAuto));
  for (int number = 0; number < 30; ++number) {
    const Point point = driver.Ask()->point;
    driver.Tell(number, 0.3 * point[1] - 0.2 * point[3]);
  }
  const std::vector<BitEffect> effects = driver.BitEffects();
  ASSERT_EQ(effects.size(), 6u);
  EXPECT_NEAR(effects[1].mean, 0.3, 0.05);
  EXPECT_NEAR(effects[3].mean, -0.2, 0.05);
  EXPECT_NEAR(effects[0].mean, 0, 0.05);
  EXPECT_GT(driver.Summary().leave_one_out_r2, 0.8);
}

TEST(Method, NamesAreInverse) {
  for (const char* name : {"auto", "pr", "local", "climb", "random"}) {
    EXPECT_EQ(MethodName(ParseMethod(name).value()), name);
  }
  EXPECT_EQ(ExitCodeOf(ParseMethod("tpe").status()), kExitUsage);
}

}  // namespace
}  // namespace mixrec::bo_driver
