#include "common/random.h"
#include "common/status.h"
#include "tests/simulation/ps_world.h"

namespace mixrec::ps {

WorldOptions DrawWorld(uint64_t seed, Mutation mutation) {
  RandomStream random(HashKey(seed, "options"));
  WorldOptions options;
  options.seed = seed;
  options.mutation = mutation;
  options.gentle = random.Below(2) == 0;
  options.shards = 1 + static_cast<int>(random.Below(3));
  options.replicas = options.gentle || random.Below(3) > 0 ? 1 : 0;
  options.workers = 1 + static_cast<int>(random.Below(3));
  options.consistency = static_cast<Consistency>(random.Below(3));
  if (options.consistency == Consistency::kSsp)
    options.staleness = static_cast<int>(random.Below(3));
  options.steps = 4 + static_cast<int64_t>(random.Below(12));
  options.rows = 2 + static_cast<int64_t>(random.Below(12));
  constexpr double kThink[] = {0, 0.1, 1.5};
  options.think_seconds = kThink[random.Below(3)];
  options.drop = random.Below(2) == 0 ? 0 : random.Uniform() * 0.1;
  options.duplicate = random.Below(2) == 0 ? 0 : random.Uniform() * 0.1;
  options.straggle = random.Below(2) == 0 ? 0 : random.Uniform() * 0.02;
  options.faults = 1 + static_cast<int>(random.Below(options.gentle ? 3 : 6));
  if (random.Below(4) == 0) {
    options.save_every = 1 + static_cast<int64_t>(random.Below(4));
    if (!options.gentle) options.tear = 0.1;
  }
  return options;
}

std::string Describe(const WorldOptions& options) {
  constexpr const char* kModes[] = {"bsp", "ssp", "asp"};
  return StrCat("seed ", options.seed, options.gentle ? " (gentle)" : "", ": ", options.shards,
                " shards, ", options.replicas, " replicas, ", options.workers, " workers, ",
                kModes[static_cast<int>(options.consistency)], " ", options.staleness, ", ",
                options.steps, " steps, ", options.faults, " faults, think ", options.think_seconds,
                " s, save every ", options.save_every);
}

}  // namespace mixrec::ps
