#include "common/random.h"
#include "common/status.h"
#include "tests/simulation/search_world.h"

namespace mixrec::scheduler {

SearchWorldOptions DrawSearchWorld(uint64_t seed, Mutation mutation) {
  RandomStream random(HashKey(seed, "search options"));
  const auto up_to = [&](int low, int high) {
    return low + static_cast<int>(random.Below(static_cast<uint64_t>(high - low + 1)));
  };
  const auto sometimes = [&](double most) {
    return random.Below(2) == 0 ? 0 : random.Uniform() * most;
  };
  SearchWorldOptions options;
  options.seed = seed;
  options.mutation = mutation;
  options.groups = up_to(1, 4);
  options.slots = up_to(1, 2);
  options.trials = up_to(2, 9);
  options.epochs = up_to(1, 4);
  constexpr double kEpochs[] = {0.3, 1.5, 4, 9};
  options.epoch_seconds = kEpochs[random.Below(4)];
  options.drop = sometimes(0.2);
  options.duplicate = sometimes(0.2);
  options.straggle = sometimes(0.1);
  options.tear = sometimes(0.03);
  options.bad = sometimes(0.1);
  options.unlucky = sometimes(0.1);
  options.early_stop = sometimes(0.2);
  options.retries = up_to(0, 4);
  options.faults = up_to(1, 8);
  return options;
}

std::string Describe(const SearchWorldOptions& options) {
  return StrCat("seed ", options.seed, ": ", options.groups, " groups of ", options.slots,
                " slots, ", options.trials, " trials of ", options.epochs, " epochs of ",
                options.epoch_seconds, " s, ", options.faults, " faults, ", options.retries,
                " retries, drop ", options.drop, ", duplicate ", options.duplicate, ", straggle ",
                options.straggle, ", tear ", options.tear);
}

}  // namespace mixrec::scheduler
