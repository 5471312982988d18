// Covariances of the surrogate, their hyperparameters and priors (docs/search.md).
//
//   hamming: exp(-1/2 sum_i d_i^2 / l_i^2), unit variance;
//   windows: a / (L-1) sum_{l<L-1} exp(-1/2 sum_{i in layers l, l+1} d_i^2 / l_i^2), times the
//            exponential over the ordinal dimensions.
// d_i is the difference of coordinates. Hyperparameters are one vector:
//   [ln l0, delta_1 .. delta_d, ln noise variance, ln a (windows only)],  ln l_i = ln l0 + delta_i.
#pragma once

#include <Eigen/Dense>
#include <vector>

#include "bo_driver/search_space.h"

namespace mixrec::bo_driver {

enum class KernelKind { kHamming, kWindows };

class Kernel {
 public:
  // Windows need three layers or more (with two they are the hamming kernel).
  Kernel(SearchSpace space, KernelKind kind);

  const SearchSpace& space() const { return space_; }
  KernelKind kind() const { return kind_; }

  // --- hyperparameters -------------------------------------------------------------------------
  int parameters() const { return space_.dimensions() + (windows() ? 3 : 2); }
  Eigen::VectorXd DefaultParameters() const;
  Eigen::VectorXd LowerBounds() const;
  Eigen::VectorXd UpperBounds() const;
  // Log density of the prior up to a constant; adds its gradient to `*gradient`.
  double LogPrior(const Eigen::VectorXd& parameters, Eigen::VectorXd* gradient) const;
  double NoiseVariance(const Eigen::VectorXd& parameters) const;
  double SignalVariance(const Eigen::VectorXd& parameters) const;
  Eigen::VectorXd InverseSquareScales(const Eigen::VectorXd& parameters) const;  // [d] 1 / l_i^2

  // --- covariances -----------------------------------------------------------------------------
  // Squared coordinate differences of all pairs (j, k), j > k, k-major. [n (n-1) / 2, d]
  Eigen::MatrixXd SquaredDifferences(const std::vector<Point>& points) const;
  // Covariances of those pairs [pairs]. With `windows` given, keeps what Gradient needs.
  Eigen::VectorXd Covariances(const Eigen::VectorXd& parameters, const Eigen::MatrixXd& differences,
                              Eigen::MatrixXd* window_terms) const;
  // Chain rule: adds to `*gradient` the derivatives with respect to ln l0, delta and ln a, given
  // weights[p] = dL/dcovariance of pair p. The diagonal's part is the caller's.
  void AddGradient(const Eigen::VectorXd& parameters, const Eigen::MatrixXd& differences,
                   const Eigen::VectorXd& covariances, const Eigen::MatrixXd& window_terms,
                   const Eigen::VectorXd& weights, Eigen::VectorXd* gradient) const;
  // Covariance of two points.
  double Covariance(const Eigen::VectorXd& parameters, const Point& a, const Point& b) const;

 private:
  bool windows() const { return kind_ == KernelKind::kWindows; }
  double ScaleMean() const;  // of ln l0
  int layer_begin(int layer) const { return layer * space_.bits_per_layer; }

  SearchSpace space_;
  KernelKind kind_;
};

// Covariances of any point with fixed training points by table look-up: a layer of b bits has only
// 2^b states, so a covariance is a product (hamming) or a sum (windows) of one column a layer.
class CovarianceTables {
 public:
  CovarianceTables() = default;
  CovarianceTables(const Kernel& kernel, const Eigen::VectorXd& parameters,
                   const std::vector<Point>& training);
  // Column c: covariances of points[c] with the training points. [n, points]
  Eigen::MatrixXd Columns(const std::vector<Point>& points) const;

 private:
  int Code(const Point& point, int layer) const;

  SearchSpace space_;
  bool windows_ = false;
  double factor_ = 1;                      // a / (L - 1)
  std::vector<Eigen::MatrixXd> layers_;    // hamming: a layer each; windows: a window each
  std::vector<Eigen::MatrixXd> ordinals_;  // [n, levels] each
};

}  // namespace mixrec::bo_driver
