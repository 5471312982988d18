// Covariances of the surrogate, their hyperparameters and priors (docs/search.md).
//
//   hamming: exp(-1/2 sum_i d_i^2 / l_i^2), unit variance;
//   windows: a / (L-1) sum_{l<L-1} exp(-1/2 sum_{i in layers l, l+1} d_i^2 / l_i^2), times the
//            exponential over the ordinal dimensions.
// d_i is the difference of coordinates. Hyperparameters are one vector:
//   [ln l0, delta_1 .. delta_d, ln noise variance, ln a (windows only)],  ln l_i = ln l0 + delta_i.
#pragma once

#include <Eigen/Dense>
#include <cstdint>
#include <vector>

#include "bo_driver/search_space.h"

namespace mixrec::bo_driver {

enum class KernelKind { kHamming, kWindows };

// How the points of all pairs (j, k), j > k, k-major, differ: a layer of b bits in one of 2^b ways,
// so that its share of a covariance is looked up.
struct PairDifferences {
  std::vector<std::vector<uint8_t>> codes;  // [layers][pairs] exclusive or of the layers' bits
  Eigen::MatrixXd ordinals;                 // [pairs, ordinals] squared coordinate differences
  Eigen::Index count = 0;
};

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
  PairDifferences Differences(const std::vector<Point>& points) const;
  // Covariances of all pairs. [pairs]
  Eigen::VectorXd Covariances(const Eigen::VectorXd& parameters,
                              const PairDifferences& pairs) const;
  // Chain rule: adds to `*gradient` the derivatives with respect to ln l0, delta and ln a, given
  // weights[p] = dL/dcovariance of pair p. The diagonal's part is the caller's.
  void AddGradient(const Eigen::VectorXd& parameters, const PairDifferences& pairs,
                   const Eigen::VectorXd& weights, Eigen::VectorXd* gradient) const;
  // Covariance of two points.
  double Covariance(const Eigen::VectorXd& parameters, const Point& a, const Point& b) const;

 private:
  bool windows() const { return kind_ == KernelKind::kWindows; }
  double ScaleMean() const;  // of ln l0
  double ScaleVariance() const;
  int states() const { return 1 << space_.bits_per_layer; }
  // exp(-1/2 sum of the layer's terms) by how its bits differ. [states, layers]
  Eigen::MatrixXd LayerFactors(const Eigen::VectorXd& parameters) const;
  // Of the ordinals; 1 without any. [pairs]
  Eigen::ArrayXd OrdinalFactors(const Eigen::VectorXd& parameters,
                                const PairDifferences& pairs) const;
  // What a window's product counts: a / (L-1); 1 without windows.
  double WindowShare(const Eigen::VectorXd& parameters) const;
  Eigen::MatrixXd SumsByCode(const Eigen::MatrixXd& factors, const PairDifferences& pairs,
                             Eigen::ArrayXd* weighted) const;

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
