// A Gaussian process over a search space: maximum a posteriori hyperparameters, leave-one-out
// scores, predictions. Rasmussen and Williams (2006), chapters 2 and 5. Never aborts: when a
// covariance cannot be factorised with any jitter, the previous hyperparameters stay.
#pragma once

#include <Eigen/Dense>
#include <vector>

#include "bo_driver/kernel.h"

namespace mixrec::bo_driver {

// What the process is fitted to. Values are standardised by the caller.
struct Observations {
  std::vector<Point> points;
  Eigen::VectorXd values;       // [n]
  Eigen::VectorXd extra_noise;  // [n] variance beyond the common noise (failed points)
};

struct Prediction {
  Eigen::VectorXd mean;      // [points]
  Eigen::VectorXd variance;  // [points] of the noiseless function, >= 1e-12
};

// Scores of predicting each observation from the others.
struct LeaveOneOut {
  double log_density = 0;    // sum of log N(y_i; mu_i, v_i)
  double r2 = 0;             // 1 - sum (y_i - mu_i)^2 / sum y_i^2
  Eigen::VectorXd mean;      // [n] mu_i
  Eigen::VectorXd variance;  // [n] v_i, noise included
};

class GaussianProcess {
 public:
  GaussianProcess(const SearchSpace& space, KernelKind kind);

  // Log posterior density of hyperparameters (up to a constant) and, when asked, its gradient;
  // minus infinity when the covariance cannot be factorised.
  double LogPosterior(const Observations& observations, const Eigen::VectorXd& parameters,
                      Eigen::VectorXd* gradient) const;
  // Fits the hyperparameters, starting from the previous ones, and when `from_default` also from
  // the prior's mode (not with some hundred points: the work of a fit is limited); then conditions
  // on the observations. False when nothing could be factorised (predictions are then those of the
  // previous state).
  bool Fit(const Observations& observations, bool from_default);
  // Adds points whose value is believed to be the posterior mean: their mean stays, variances
  // around them shrink.
  void Believe(const std::vector<Point>& points);

  const LeaveOneOut& leave_one_out() const { return leave_one_out_; }
  const Kernel& kernel() const { return kernel_; }
  const Eigen::VectorXd& parameters() const { return parameters_; }
  double noise_variance() const { return kernel_.NoiseVariance(parameters_); }
  bool fitted() const { return weights_.size() > 0; }

  Prediction Predict(const std::vector<Point>& points) const;
  // Posterior mean and variance of the average of f(one[j]) - f(zero[j]).
  void PredictDifference(const std::vector<Point>& one, const std::vector<Point>& zero,
                         double* mean, double* variance) const;

 private:
  // LogPosterior with the squared differences at hand.
  double Density(const Observations& observations, const PairDifferences& differences,
                 const Eigen::VectorXd& parameters, Eigen::VectorXd* gradient) const;
  bool Condition(const Observations& observations, const std::vector<Point>& believed);

  Kernel kernel_;
  Eigen::VectorXd parameters_;
  Observations observations_;
  CovarianceTables tables_;
  Eigen::MatrixXd factor_;   // lower Cholesky factor, observations first, then believed points
  Eigen::VectorXd weights_;  // K^-1 y, zero at believed points
  LeaveOneOut leave_one_out_;
};

}  // namespace mixrec::bo_driver
