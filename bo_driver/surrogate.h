// The driver's model of the objective: standardised values, two kernels of which the one with the
// better leave-one-out score speaks.
#pragma once

#include <optional>
#include <vector>

#include "bo_driver/gaussian_process.h"
#include "bo_driver/prior.h"

namespace mixrec::bo_driver {

// One evaluated point; no value = it failed.
struct Evaluation {
  Point point;
  std::optional<double> value;
};

class Surrogate {
 public:
  // `prior` counts as observations with more noise, and less the more is known of this study.
  explicit Surrogate(const SearchSpace& space, std::vector<PriorEvaluation> prior = {});

  // Refits to all evaluations (two successful ones or more), warm from the previous fit; every
  // fifth fit also from the prior's mode. All bits equal counts as a noisy evaluation in spaces of
  // 12 bits or more. False when no kernel could be fitted.
  bool Fit(const std::vector<Evaluation>& evaluations);
  // Kriging believer for points whose values are not known yet.
  void Believe(const std::vector<Point>& points) { chosen().Believe(points); }

  const GaussianProcess& process() const { return processes_[chosen_]; }
  double best() const { return best_; }  // best standardised value
  double ToValue(double standardised) const { return mean_ + deviation_ * standardised; }
  double deviation() const { return deviation_; }

 private:
  GaussianProcess& chosen() { return processes_[chosen_]; }

  std::vector<PriorEvaluation> prior_;
  std::vector<GaussianProcess> processes_;
  size_t chosen_ = 0;
  int fits_ = 0;
  double mean_ = 0, deviation_ = 1, best_ = 0;
};

}  // namespace mixrec::bo_driver
