#include "bo_driver/gaussian_process.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "bo_driver/minimizer.h"
#include "common/log.h"

namespace mixrec::bo_driver {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;
using Factorisation = Eigen::LLT<MatrixXd>;

constexpr double kDiagonal = 1e-8;
constexpr double kLargestJitter = 1e-2;
constexpr double kSmallestVariance = 1e-12;
const double kLogTwoPi = std::log(2 * M_PI);

// Multiply-adds of a fit, about. A fit that is cut short goes on at the next result.
constexpr double kFitWork = 5e7;
constexpr int kFewestIterations = 4;

int AffordableIterations(Index n, int wanted) {
  const double points = static_cast<double>(n);
  const double one = points * points * (points + 60);  // a density and its gradient
  return std::clamp(static_cast<int>(kFitWork / one), kFewestIterations, wanted);
}

// The covariance matrix, lower triangle, from the covariances of all pairs (k-major).
MatrixXd Assemble(const VectorXd& pairs, const VectorXd& diagonal) {
  const Index n = diagonal.size();
  MatrixXd matrix = diagonal.asDiagonal();
  Index row = 0;
  for (Index k = 0; k + 1 < n; ++k) {
    matrix.col(k).tail(n - 1 - k) = pairs.segment(row, n - 1 - k);
    row += n - 1 - k;
  }
  return matrix;
}

// Factorises with as little jitter as works. False when none does.
bool Factorise(MatrixXd matrix, Factorisation* result) {
  for (double jitter = kDiagonal; jitter <= kLargestJitter * 1.01; jitter *= 10) {
    MatrixXd jittered = matrix;
    jittered.diagonal().array() += jitter;
    result->compute(jittered);
    if (result->info() == Eigen::Success && result->matrixLLT().allFinite()) return true;
  }
  return false;
}

}  // namespace

GaussianProcess::GaussianProcess(const SearchSpace& space, KernelKind kind)
    : kernel_(space, kind), parameters_(kernel_.DefaultParameters()) {}

double GaussianProcess::LogPosterior(const Observations& observations, const VectorXd& parameters,
                                     VectorXd* gradient) const {
  return Density(observations, kernel_.Differences(observations.points), parameters, gradient);
}

double GaussianProcess::Density(const Observations& observations,
                                const PairDifferences& differences, const VectorXd& parameters,
                                VectorXd* gradient) const {
  const VectorXd pairs = kernel_.Covariances(parameters, differences);
  const double noise = kernel_.NoiseVariance(parameters);
  const double signal = kernel_.SignalVariance(parameters);
  Factorisation factorisation;
  if (!Factorise(Assemble(pairs, observations.extra_noise.array() + (noise + signal)),
                 &factorisation)) {
    return -std::numeric_limits<double>::infinity();
  }
  const Index n = observations.values.size();
  const VectorXd weights = factorisation.solve(observations.values);
  double density = -0.5 * observations.values.dot(weights) -
                   factorisation.matrixLLT().diagonal().array().log().sum();
  VectorXd unused = VectorXd::Zero(parameters.size());
  if (gradient == nullptr) return density + kernel_.LogPrior(parameters, &unused);

  // dL/dK = (weights weights^T - K^-1) / 2; a pair counts twice.
  const MatrixXd inverse = factorisation.solve(MatrixXd::Identity(n, n));
  VectorXd pair_weights(pairs.size());
  Index row = 0;
  for (Index k = 0; k + 1 < n; ++k) {
    const Index count = n - 1 - k;
    pair_weights.segment(row, count) =
        weights[k] * weights.tail(count) - inverse.col(k).tail(count);
    row += count;
  }
  gradient->setZero(parameters.size());
  kernel_.AddGradient(parameters, differences, pair_weights, gradient);
  const double diagonal = 0.5 * (weights.squaredNorm() - inverse.trace());
  (*gradient)[1 + kernel_.space().dimensions()] += noise * diagonal;
  if (kernel_.kind() == KernelKind::kWindows) {
    (*gradient)[2 + kernel_.space().dimensions()] += signal * diagonal;
  }
  return density + kernel_.LogPrior(parameters, gradient);
}

bool GaussianProcess::Fit(const Observations& observations, bool from_default) {
  const PairDifferences differences = kernel_.Differences(observations.points);
  const SmoothFunction loss = [&](const VectorXd& x, VectorXd* gradient) {
    const double value = -Density(observations, differences, x, gradient);
    *gradient = -*gradient;
    return value;
  };
  const VectorXd lower = kernel_.LowerBounds(), upper = kernel_.UpperBounds();
  MinimizerOptions options;
  const int wanted = options.iterations;
  options.iterations = AffordableIterations(observations.values.size(), wanted);
  // From far away a few iterations lead nowhere.
  from_default = from_default && 2 * options.iterations >= wanted;
  Minimum best = Minimize(loss, parameters_, lower, upper, options);
  if (from_default || !std::isfinite(best.value)) {
    const Minimum other = Minimize(loss, kernel_.DefaultParameters(), lower, upper, options);
    if (other.value < best.value) best = other;
  }
  if (!std::isfinite(best.value)) return false;
  const VectorXd previous = parameters_;
  parameters_ = best.x;
  if (Condition(observations, {})) return true;
  parameters_ = previous;
  return false;
}

void GaussianProcess::Believe(const std::vector<Point>& points) {
  if (points.empty()) return;
  // A failure leaves the state without the believed points, which is safe.
  Condition(Observations(observations_), points);
}

bool GaussianProcess::Condition(const Observations& observations,
                                const std::vector<Point>& believed) {
  std::vector<Point> points = observations.points;
  points.insert(points.end(), believed.begin(), believed.end());
  const Index n = observations.values.size(), all = static_cast<Index>(points.size());
  const double diagonal = kernel_.NoiseVariance(parameters_) + kernel_.SignalVariance(parameters_);
  VectorXd diagonals = VectorXd::Constant(all, diagonal);
  diagonals.head(n) += observations.extra_noise;
  CovarianceTables tables(kernel_, parameters_, points);
  MatrixXd matrix = tables.Columns(points);
  matrix.diagonal() = diagonals;
  Factorisation factorisation;
  if (!Factorise(matrix, &factorisation)) return false;

  tables_ = std::move(tables);
  factor_ = factorisation.matrixL();
  weights_ = VectorXd::Zero(all);
  // A believed point's value is the mean of the others, so it adds nothing to the mean.
  const auto own = factor_.topLeftCorner(n, n).triangularView<Eigen::Lower>();
  weights_.head(n) = own.transpose().solve(own.solve(observations.values));
  if (believed.empty()) {
    const MatrixXd inverse = factorisation.solve(MatrixXd::Identity(n, n));
    const Eigen::ArrayXd variance = inverse.diagonal().array().inverse();
    const Eigen::ArrayXd error = weights_.array() * variance;
    leave_one_out_.mean = observations.values.array() - error;
    leave_one_out_.variance = variance;
    leave_one_out_.log_density =
        -0.5 * (error.square() / variance + variance.log() + kLogTwoPi).sum();
    const double spread = observations.values.squaredNorm();
    leave_one_out_.r2 = spread > 0 ? 1 - error.square().sum() / spread : 0;
  }
  observations_ = observations;
  return true;
}

Prediction GaussianProcess::Predict(const std::vector<Point>& points) const {
  CHECK(fitted()) << "a Gaussian process must be fitted before it predicts";
  MatrixXd columns = tables_.Columns(points);
  Prediction prediction;
  prediction.mean = columns.transpose() * weights_;
  factor_.triangularView<Eigen::Lower>().solveInPlace(columns);
  prediction.variance =
      (kernel_.SignalVariance(parameters_) - columns.colwise().squaredNorm().array())
          .max(kSmallestVariance);
  return prediction;
}

void GaussianProcess::PredictDifference(const std::vector<Point>& one,
                                        const std::vector<Point>& zero, double* mean,
                                        double* variance) const {
  CHECK(fitted());
  const double count = static_cast<double>(one.size());
  VectorXd column = (tables_.Columns(one) - tables_.Columns(zero)).rowwise().sum() / count;
  *mean = column.dot(weights_);
  // Prior variance of the average: covariances among the points themselves.
  const CovarianceTables among_one(kernel_, parameters_, one),
      among_zero(kernel_, parameters_, zero);
  const double prior = (among_one.Columns(one).sum() - 2 * among_one.Columns(zero).sum() +
                        among_zero.Columns(zero).sum()) /
                       (count * count);
  factor_.triangularView<Eigen::Lower>().solveInPlace(column);
  *variance = std::max(prior - column.squaredNorm(), 0.0);
}

}  // namespace mixrec::bo_driver
