#include "bo_driver/acquisition.h"

#include <algorithm>
#include <cmath>

namespace mixrec::bo_driver {
namespace {

const double kLogSqrtTwoPi = 0.5 * std::log(2 * M_PI);

// exp(u^2) erfc(u) for u > 0.
double ScaledErfc(double u) {
  if (u < 25) return std::exp(u * u) * std::erfc(u);
  const double s = 1 / (2 * u * u);
  return (1 - s * (1 - 3 * s * (1 - 5 * s * (1 - 7 * s)))) / (u * std::sqrt(M_PI));
}

}  // namespace

double LogImprovement(double z) {
  if (z >= -1) {
    const double density = std::exp(-0.5 * z * z - kLogSqrtTwoPi);
    return std::log(density + z * 0.5 * std::erfc(-z * M_SQRT1_2));
  }
  const double tail = z < -1e4 ? -2 * std::log(-z)
                               : std::log1p(z * std::sqrt(M_PI / 2) * ScaledErfc(-z * M_SQRT1_2));
  return -0.5 * z * z - kLogSqrtTwoPi + tail;
}

Eigen::VectorXd LogExpectedImprovement::operator()(const std::vector<Point>& points) const {
  const SearchSpace& space = process_->kernel().space();
  std::vector<Point> canonical;
  if (space.canonical) {
    for (const Point& point : points) canonical.push_back(space.Canonical(point));
  }
  const Prediction prediction = process_->Predict(space.canonical ? canonical : points);
  Eigen::VectorXd values(prediction.mean.size());
  for (Eigen::Index i = 0; i < values.size(); ++i) {
    const double deviation = std::sqrt(prediction.variance[i]);
    values[i] = std::log(deviation) + LogImprovement((prediction.mean[i] - best_) / deviation);
  }
  return values;
}

}  // namespace mixrec::bo_driver
