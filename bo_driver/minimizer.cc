#include "bo_driver/minimizer.h"

#include <cmath>
#include <deque>
#include <limits>
#include <utility>
#include <vector>

namespace mixrec::bo_driver {
namespace {

using Eigen::VectorXd;

// A step and the change of the gradient along it.
struct Pair {
  VectorXd step, change;
  double inverse_product;  // 1 / (step . change)
};

// 1 where a variable may move against its gradient, 0 where a bound holds it.
VectorXd FreeMask(const VectorXd& x, const VectorXd& gradient, const VectorXd& lower,
                  const VectorXd& upper) {
  VectorXd mask = VectorXd::Ones(x.size());
  for (Eigen::Index i = 0; i < x.size(); ++i) {
    const bool held =
        (x[i] <= lower[i] && gradient[i] > 0) || (x[i] >= upper[i] && gradient[i] < 0);
    if (held) mask[i] = 0;
  }
  return mask;
}

// Two-loop recursion: minus the inverse Hessian estimate times the gradient of the free variables.
VectorXd Direction(const VectorXd& gradient, const VectorXd& mask, const std::deque<Pair>& pairs) {
  VectorXd q = gradient.cwiseProduct(mask);
  std::vector<double> weights(pairs.size());
  for (size_t i = pairs.size(); i-- > 0;) {
    weights[i] = pairs[i].inverse_product * pairs[i].step.dot(q);
    q -= weights[i] * pairs[i].change;
  }
  if (pairs.empty()) {
    q /= std::max(1.0, q.norm());
  } else {
    q /= pairs.back().inverse_product * pairs.back().change.squaredNorm();
  }
  for (size_t i = 0; i < pairs.size(); ++i) {
    const double correction = weights[i] - pairs[i].inverse_product * pairs[i].change.dot(q);
    q += correction * pairs[i].step;
  }
  return -q.cwiseProduct(mask);
}

}  // namespace

Minimum Minimize(const SmoothFunction& function, const VectorXd& start, const VectorXd& lower,
                 const VectorXd& upper, const MinimizerOptions& options) {
  const auto project = [&](const VectorXd& x) -> VectorXd {
    return x.cwiseMax(lower).cwiseMin(upper);
  };
  Minimum best{project(start), 0};
  VectorXd gradient(start.size());
  best.value = function(best.x, &gradient);
  if (!std::isfinite(best.value)) return {best.x, std::numeric_limits<double>::infinity()};

  std::deque<Pair> pairs;
  int idle = 0;
  for (int iteration = 0; iteration < options.iterations && idle < 2; ++iteration) {
    const VectorXd mask = FreeMask(best.x, gradient, lower, upper);
    VectorXd direction = Direction(gradient, mask, pairs);
    if (direction.dot(gradient) >= 0) {  // the curvature estimate is of no use here
      pairs.clear();
      direction = Direction(gradient, mask, pairs);
    }
    bool accepted = false;
    VectorXd x, new_gradient(start.size());
    double value = 0;
    for (double length = 1; length > 1e-4 && !accepted; length *= 0.4) {
      x = project(best.x + length * direction);
      const double slope = gradient.dot(x - best.x);
      if (slope >= 0) continue;
      value = function(x, &new_gradient);
      accepted = std::isfinite(value) && value <= best.value + 1e-4 * slope;
    }
    if (!accepted) {
      if (pairs.empty()) break;
      pairs.clear();
      ++idle;
      continue;
    }
    Pair pair{x - best.x, new_gradient - gradient, 0};
    const double product = pair.step.dot(pair.change);
    if (product > 1e-10 * pair.change.squaredNorm()) {
      pair.inverse_product = 1 / product;
      pairs.push_back(std::move(pair));
      if (static_cast<int>(pairs.size()) > options.memory) pairs.pop_front();
    }
    idle = best.value - value < options.tolerance ? idle + 1 : 0;
    best = {std::move(x), value};
    gradient = std::move(new_gradient);
  }
  return best;
}

}  // namespace mixrec::bo_driver
