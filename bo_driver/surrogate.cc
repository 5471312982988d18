#include "bo_driver/surrogate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "common/log.h"

namespace mixrec::bo_driver {
namespace {

constexpr double kFailureNoise = 0.5;  // extra variance of the value that stands for a failure
constexpr int kFreshStartEvery = 5;
// Extra variance of what an earlier study found: it was another objective. It grows with the number
// of own results, which are what counts in the end.
constexpr double kPriorNoise = 0.5, kPriorNoisePerResult = 0.05;
// All serial and all parallel lie half the space away from every other point, in the one direction
// in which all effects add up. Taken at its word, a stationary kernel would let these two pin the
// sum of all effects; so in spaces where they are that far they count for little (docs/search.md).
constexpr double kCornerNoise = 3.0;
constexpr int kBitsWithFarCorners = 12;

bool IsFarCorner(const Point& point, int bits) {
  if (bits < kBitsWithFarCorners) return false;
  const auto end = point.begin() + bits;
  return std::all_of(point.begin(), end, [&](uint8_t bit) { return bit == point.front(); });
}

}  // namespace

Surrogate::Surrogate(const SearchSpace& space, std::vector<PriorEvaluation> prior)
    : prior_(std::move(prior)) {
  processes_.emplace_back(space, KernelKind::kHamming);
  if (space.layers() >= 3) processes_.emplace_back(space, KernelKind::kWindows);
}

bool Surrogate::Fit(const std::vector<Evaluation>& evaluations) {
  double sum = 0, squares = 0, count = 0;
  double worst = std::numeric_limits<double>::infinity(), best = -worst;
  for (const Evaluation& evaluation : evaluations) {
    if (!evaluation.value) continue;
    sum += *evaluation.value;
    ++count;
    worst = std::min(worst, *evaluation.value);
    best = std::max(best, *evaluation.value);
  }
  CHECK_GE(count, 2) << "a surrogate needs two successful evaluations";
  mean_ = sum / count;
  for (const Evaluation& evaluation : evaluations) {
    if (evaluation.value) squares += (*evaluation.value - mean_) * (*evaluation.value - mean_);
  }
  deviation_ = std::sqrt(squares / count);
  // Equal values (a constant objective) leave nothing to scale by.
  if (!(deviation_ > 1e-12 * std::max(1.0, std::abs(mean_)))) deviation_ = 1;
  best_ = (best - mean_) / deviation_;

  Observations observations;
  const Eigen::Index n = static_cast<Eigen::Index>(evaluations.size() + prior_.size());
  observations.values.resize(n);
  observations.extra_noise = Eigen::VectorXd::Zero(n);
  for (Eigen::Index i = 0; i < static_cast<Eigen::Index>(evaluations.size()); ++i) {
    const Evaluation& evaluation = evaluations[static_cast<size_t>(i)];
    observations.points.push_back(evaluation.point);
    observations.values[i] = (evaluation.value.value_or(worst) - mean_) / deviation_;
    if (!evaluation.value) observations.extra_noise[i] = kFailureNoise;
    if (IsFarCorner(evaluation.point, processes_[0].kernel().space().bits)) {
      observations.extra_noise[i] += kCornerNoise;
    }
  }
  for (size_t i = 0; i < prior_.size(); ++i) {
    const Eigen::Index at = static_cast<Eigen::Index>(evaluations.size() + i);
    observations.points.push_back(prior_[i].point);
    observations.values[at] = prior_[i].standardised;
    observations.extra_noise[at] = kPriorNoise + kPriorNoisePerResult * count;
  }
  const bool fresh_start = fits_++ % kFreshStartEvery == 0;
  bool any = false;
  double score = -std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < processes_.size(); ++i) {
    if (!processes_[i].Fit(observations, fresh_start)) continue;
    any = true;
    if (processes_[i].leave_one_out().log_density <= score) continue;
    score = processes_[i].leave_one_out().log_density;
    chosen_ = i;
  }
  return any;
}

}  // namespace mixrec::bo_driver
