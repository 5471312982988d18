// The promises of docs/protocol.md under faults, seed by seed, and that a mistake in keeping them
// would be found. MIXREC_SIMULATION_SEEDS=100000 runs that many seeds, from
// MIXREC_SIMULATION_FIRST.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "common/status.h"
#include "tests/simulation/ps_world.h"

namespace mixrec::ps {
namespace {

uint64_t Number(const char* name, uint64_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr ? fallback : std::stoull(text);
}

TEST(PsSimulation, EveryAcknowledgedPushIsAppliedOnceAndNoPullIsTooOld) {
  const uint64_t first = Number("MIXREC_SIMULATION_FIRST", 1);
  const uint64_t seeds = Number("MIXREC_SIMULATION_SEEDS", 1000);
  uint64_t events = 0, restarts = 0, takeovers = 0;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    const WorldOptions options = DrawWorld(seed);
    const WorldResult result = RunWorld(options);
    EXPECT_EQ(result.violation, "") << Describe(options);
    events += result.events;
    restarts += static_cast<uint64_t>(result.restarts);
    takeovers += static_cast<uint64_t>(result.takeovers);
  }
  std::cout << seeds << " seeds, " << events << " events, " << takeovers << " takeovers, "
            << restarts << " restarts of the job\n";
  if (seeds < 1000) return;
  EXPECT_GT(takeovers, seeds / 100);
  EXPECT_GT(restarts, seeds / 100);
}

TEST(PsSimulation, SameSeedGivesTheSameHistory) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    EXPECT_EQ(RunWorld(DrawWorld(seed)).history, RunWorld(DrawWorld(seed)).history);
  }
  EXPECT_NE(RunWorld(DrawWorld(1)).history, RunWorld(DrawWorld(2)).history);
}

TEST(PsSimulation, FaultsDoNotChangeWhatBspLearns) {
  int compared = 0;
  for (uint64_t seed = 1; compared < 100; ++seed) {
    WorldOptions options = DrawWorld(seed);
    if (options.consistency != Consistency::kBsp) continue;
    const WorldResult troubled = RunWorld(options);
    options.calm = true;
    const WorldResult calm = RunWorld(options);
    ASSERT_EQ(calm.violation, "") << Describe(options);
    EXPECT_EQ(troubled.parameters, calm.parameters) << Describe(options);
    ++compared;
  }
}

class MutationIsFound : public ::testing::TestWithParam<Mutation> {};

TEST_P(MutationIsFound, WithinThousandSeeds) {
  for (uint64_t seed = 1; seed <= 1000; ++seed) {
    const WorldResult result = RunWorld(DrawWorld(seed, GetParam()));
    if (result.violation.empty()) continue;
    std::cout << "found with seed " << seed << ": " << result.violation << "\n";
    EXPECT_EQ(RunWorld(DrawWorld(seed)).violation, "") << "without the mistake";
    return;
  }
  FAIL() << "not found";
}

INSTANTIATE_TEST_SUITE_P(PsSimulation, MutationIsFound,
                         ::testing::Values(Mutation::kNoDeduplication,
                                           Mutation::kEarlyAcknowledgement, Mutation::kNoEpochCheck,
                                           Mutation::kStaleRead, Mutation::kTornSnapshot));

}  // namespace
}  // namespace mixrec::ps
