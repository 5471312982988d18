// Test problems with known optima, for measuring the search (docs/search.md gives every formula).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bo_driver/search_space.h"

namespace mixrec::bo_driver {

struct Problem {
  std::string name;
  uint64_t instance = 0;
  SearchSpace space;
  double noise = 0;                           // standard deviation of an observation
  std::function<double(const Point&)> value;  // noiseless, higher is better
};

// nk2, nk4: NK landscapes of 36 bits with 2 or 4 neighbours a bit; arch: 12 layers of 3 bits with
// effects within and between layers, noisy; arch_r: arch with the ordinal r; contam: contamination
// control (Hu et al. 2010). Any instance number is valid. UsageError for another name.
absl::StatusOr<Problem> MakeProblem(const std::string& name, uint64_t instance);

// The first listed instance of a problem: 1001, 1101, 2001, 2001, 3001.
uint64_t FirstInstance(const std::string& name);

// Mean of random points and the best known value of a listed instance.
struct Reference {
  double mean_random = 0;
  double best = 0;
  double Score(double value) const { return (value - mean_random) / (best - mean_random); }
};
std::optional<Reference> FindReference(const std::string& name, uint64_t instance);
// The same of any instance of a problem without ordinals, at the price of a million evaluations:
// arch's optimum is exact, others' the best of 256 chains of simulated annealing.
Reference ComputeReference(const Problem& problem);

// The exact optimum of an arch instance, by dynamic programming over (layer code, ones).
struct ArchOptimum {
  double value = 0;
  Point point;
};
ArchOptimum SolveArch(uint64_t instance);

// Noise of the k-th completed evaluation, and virtual duration of the k-th started one, of a run.
double ObservationNoise(uint64_t noise_seed, uint64_t completed);  // standard normal
double VirtualDuration(uint64_t noise_seed, uint64_t started);

}  // namespace mixrec::bo_driver
