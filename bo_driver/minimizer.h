// Minimisation of a smooth function of a few dozen variables within bounds.
#pragma once

#include <Eigen/Dense>
#include <functional>

namespace mixrec::bo_driver {

// Value at `x`, with the gradient written to `*gradient`. May return infinity (no gradient needed)
// where the function cannot be evaluated.
using SmoothFunction = std::function<double(const Eigen::VectorXd& x, Eigen::VectorXd* gradient)>;

struct MinimizerOptions {
  int iterations = 40;
  int memory = 8;           // pairs of steps and gradient changes that are kept
  double tolerance = 1e-4;  // stop when two iterations in a row gain less
};

struct Minimum {
  Eigen::VectorXd x;
  double value = 0;  // infinity when the function could not be evaluated at the start
};

// Projected L-BFGS (limited-memory quasi-Newton on the variables that are not held at a bound;
// Nocedal and Wright, chapters 7.2 and 16.7), with a backtracking line search along the projected
// path. Never returns a point worse than `start`, which is first moved into [lower, upper].
Minimum Minimize(const SmoothFunction& function, const Eigen::VectorXd& start,
                 const Eigen::VectorXd& lower, const Eigen::VectorXd& upper,
                 const MinimizerOptions& options);

}  // namespace mixrec::bo_driver
