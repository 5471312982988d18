#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

#include "bench/bo.h"
#include "bo_driver/problems.h"
#include "bo_driver/virtual_run.h"

namespace mixrec::bo_driver {
namespace {

TEST(TestProblems, EveryPublishedCheckValueIsReproduced) {
  std::ostringstream out;
  EXPECT_TRUE(bench::CheckBoProblems(out).ok()) << out.str();
}

TEST(TestProblems, ListedOptimaScoreOneAndRandomMeansZero) {
  const Reference reference = FindReference("arch", 2003).value();
  EXPECT_NEAR(reference.Score(SolveArch(2003).value), 1, 1e-5);
  EXPECT_EQ(reference.Score(reference.mean_random), 0);
  EXPECT_FALSE(FindReference("arch", 2006).has_value());
}

TEST(TestProblems, UnknownNamesAreUsageErrors) {
  EXPECT_EQ(ExitCodeOf(MakeProblem("nk3", 1).status()), kExitUsage);
  bench::BoBenchOptions options;
  options.method = "tpe";
  EXPECT_EQ(ExitCodeOf(bench::RunBoBench(options).status()), kExitUsage);
}

TEST(VirtualRun, IsAFunctionOfItsSeed) {
  const Problem problem = MakeProblem("arch", 2002).value();
  const VirtualRunOptions options = {Method::kAuto, 5, 4, 18};
  const VirtualRunResult once = RunVirtually(problem, options);
  const VirtualRunResult again = RunVirtually(problem, options);
  EXPECT_EQ(once.incumbent, again.incumbent);
  EXPECT_EQ(once.observed, again.observed);
  EXPECT_EQ(once.value, problem.value(once.incumbent));
}

TEST(VirtualRun, SurrogateBeatsRandomSearch) {
  double surrogate = 0, random = 0;
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const Problem problem = MakeProblem("arch", 2001 + seed).value();
    const Reference reference = FindReference("arch", 2001 + seed).value();
    surrogate += reference.Score(RunVirtually(problem, {Method::kAuto, seed, 1, 30}).value) / 5;
    random += reference.Score(RunVirtually(problem, {Method::kRandom, seed, 1, 30}).value) / 5;
  }
  EXPECT_GT(surrogate, random + 0.1);
}

TEST(BoBench, PrintsScoreForListedInstancesOnly) {
  bench::BoBenchOptions options;
  options.problem = "nk2";
  options.method = "climb";
  options.seed = 3;
  const nlohmann::json listed = bench::RunBoBench(options).value();
  EXPECT_EQ(listed["instance"], 1004);
  EXPECT_TRUE(listed.contains("score"));
  EXPECT_TRUE(listed.contains("seconds_per_suggestion"));
  options.instance = 77;
  EXPECT_FALSE(bench::RunBoBench(options)->contains("score"));
}

}  // namespace
}  // namespace mixrec::bo_driver
