#include "bo_driver/surrogate.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/log.h"

namespace mixrec::bo_driver {
namespace {

constexpr double kFailureNoise = 0.5;  // extra variance of the value that stands for a failure
constexpr int kFreshStartEvery = 5;

}  // namespace

Surrogate::Surrogate(const SearchSpace& space) {
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
  const Eigen::Index n = static_cast<Eigen::Index>(evaluations.size());
  observations.values.resize(n);
  observations.extra_noise = Eigen::VectorXd::Zero(n);
  for (Eigen::Index i = 0; i < n; ++i) {
    const Evaluation& evaluation = evaluations[static_cast<size_t>(i)];
    observations.points.push_back(evaluation.point);
    observations.values[i] = (evaluation.value.value_or(worst) - mean_) / deviation_;
    if (!evaluation.value) observations.extra_noise[i] = kFailureNoise;
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
