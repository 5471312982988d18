// What scores of a test problem's instance are relative to: the mean of random points and the best
// value. Listed for some instances, computed for any other.
#include <algorithm>
#include <cmath>

#include "bo_driver/problems.h"

namespace mixrec::bo_driver {
namespace {

constexpr int kRandomPoints = 10000;
constexpr int kChains = 256;
constexpr int kSweeps = 120;                                         // over all bits, a chain
constexpr double kFirstTemperature = 0.5, kLastTemperature = 0.002;  // in standard deviations

struct Moments {
  double mean = 0, deviation = 0;
};

Moments OfRandomPoints(const Problem& problem, RandomStream stream) {
  double sum = 0, squares = 0;
  for (int i = 0; i < kRandomPoints; ++i) {
    const double value = problem.value(problem.space.Random(stream));
    sum += value;
    squares += value * value;
  }
  const double mean = sum / kRandomPoints;
  return {mean, std::sqrt(std::max(squares / kRandomPoints - mean * mean, 0.0))};
}

// The best value that one chain of simulated annealing by bit flips meets.
double Anneal(const Problem& problem, double deviation, RandomStream stream) {
  Point point = problem.space.Random(stream);
  double value = problem.value(point), best = value;
  const int steps = kSweeps * problem.space.bits;
  const double cooling = std::pow(kLastTemperature / kFirstTemperature, 1.0 / steps);
  double temperature = kFirstTemperature * deviation;
  for (int step = 0; step < steps; ++step, temperature *= cooling) {
    uint8_t& bit = point[stream.Below(static_cast<uint64_t>(problem.space.bits))];
    bit ^= 1;
    const double next = problem.value(point);
    if (next >= value || stream.Uniform() < std::exp((next - value) / temperature)) {
      value = next;
      best = std::max(best, value);
    } else {
      bit ^= 1;
    }
  }
  return best;
}

}  // namespace

Reference ComputeReference(const Problem& problem) {
  const Moments random =
      OfRandomPoints(problem, RandomStream(HashKey(problem.instance, "random points")));
  Reference reference{random.mean, random.mean};
  if (problem.name == "arch") {
    reference.best = SolveArch(problem.instance).value;
    return reference;
  }
  for (uint64_t chain = 0; chain < kChains; ++chain) {
    const RandomStream stream(HashKey(problem.instance, "annealing", chain));
    reference.best = std::max(reference.best, Anneal(problem, random.deviation, stream));
  }
  return reference;
}

}  // namespace mixrec::bo_driver
