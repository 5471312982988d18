// The promises of scheduler/scheduler.h under faults, seed by seed, and that a mistake in keeping
// them would be found. MIXREC_SIMULATION_SEEDS=100000 runs that many seeds, from
// MIXREC_SIMULATION_FIRST.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "common/status.h"
#include "tests/simulation/search_world.h"

namespace mixrec::scheduler {
namespace {

uint64_t Number(const char* name, uint64_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr ? fallback : std::stoull(text);
}

TEST(SchedulerSimulation, EveryTrialEndsWithOneResultWhateverDies) {
  const uint64_t first = Number("MIXREC_SIMULATION_FIRST", 1);
  const uint64_t seeds = Number("MIXREC_SIMULATION_SEEDS", 1000);
  uint64_t events = 0, schedulers = 0, groups = 0, attempts = 0, trials = 0, failed = 0, pruned = 0;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    SearchWorldOptions options = DrawSearchWorld(seed);
    options.trace = seeds == 1;
    const SearchWorldResult result = RunSearchWorld(options);
    EXPECT_EQ(result.violation, "") << Describe(options);
    if (options.trace) std::cout << result.trace;
    events += result.events;
    schedulers += static_cast<uint64_t>(result.scheduler_deaths);
    groups += static_cast<uint64_t>(result.group_deaths);
    attempts += static_cast<uint64_t>(result.attempts);
    trials += static_cast<uint64_t>(result.trials);
    failed += static_cast<uint64_t>(result.failed);
    pruned += static_cast<uint64_t>(result.pruned);
  }
  std::cout << seeds << " seeds, " << events << " events: " << schedulers << " schedulers and "
            << groups << " groups died; " << trials << " trials in " << attempts << " attempts, "
            << failed << " failed, " << pruned << " pruned\n";
  if (seeds < 1000) return;
  EXPECT_GT(schedulers, seeds / 2);
  EXPECT_GT(groups, seeds / 4);
  EXPECT_GT(attempts, trials + seeds / 2);
  EXPECT_GT(trials - failed - pruned, 2 * seeds);
}

TEST(SchedulerSimulation, SameSeedGivesTheSameHistory) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    EXPECT_EQ(RunSearchWorld(DrawSearchWorld(seed)).history,
              RunSearchWorld(DrawSearchWorld(seed)).history);
  }
  EXPECT_NE(RunSearchWorld(DrawSearchWorld(1)).history, RunSearchWorld(DrawSearchWorld(2)).history);
}

class MutationIsFound : public ::testing::TestWithParam<Mutation> {};

TEST_P(MutationIsFound, WithinThousandSeeds) {
  for (uint64_t seed = 1; seed <= 1000; ++seed) {
    const SearchWorldResult result = RunSearchWorld(DrawSearchWorld(seed, GetParam()));
    if (result.violation.empty()) continue;
    std::cout << "found with seed " << seed << ": " << result.violation << "\n";
    EXPECT_EQ(RunSearchWorld(DrawSearchWorld(seed)).violation, "") << "without the mistake";
    return;
  }
  FAIL() << "not found";
}

INSTANTIATE_TEST_SUITE_P(SchedulerSimulation, MutationIsFound,
                         ::testing::Values(Mutation::kNoExpiry, Mutation::kFinishTwice,
                                           Mutation::kNoSync, Mutation::kLateOverwrites,
                                           Mutation::kMoreThanSlots, Mutation::kForgottenLeases));

}  // namespace
}  // namespace mixrec::scheduler
