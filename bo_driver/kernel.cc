#include "bo_driver/kernel.h"

#include <cmath>
#include <utility>

#include "common/log.h"

namespace mixrec::bo_driver {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

// Variance of ln l0, whose density is normal in ln l0.
constexpr double kHammingScaleVariance = 0.25, kWindowsScaleVariance = 3.0;
constexpr double kDeltaDeviation = 0.5;  // of ln l_i around ln l0
constexpr double kDeltaBound = 2.5;
constexpr double kLogNoiseMean = -3.0;
constexpr double kLogNoiseDeviation = 1.5;

double Square(double x) { return x * x; }

}  // namespace

Kernel::Kernel(SearchSpace space, KernelKind kind) : space_(std::move(space)), kind_(kind) {
  CHECK_GT(space_.bits_per_layer, 0);
  CHECK_EQ(space_.bits % space_.bits_per_layer, 0) << "bits must fill whole layers";
  CHECK(!windows() || space_.layers() >= 3) << "windows need three layers or more";
}

double Kernel::ScaleMean() const {
  // Longer scales in more dimensions. Hamming: two random points, which differ in half the bits,
  // are correlated by exp(-1): neither linear nor a lottery. Windows (they hold 6 of the d
  // dimensions): the vague prior of Hvarfner et al. (2024).
  if (!windows()) return 0.5 * std::log(space_.dimensions()) - std::log(2.0);
  const double dimensions = std::min(space_.dimensions(), 2 * space_.bits_per_layer);
  return std::sqrt(2.0) + 0.5 * std::log(dimensions);
}

double Kernel::ScaleVariance() const {
  return windows() ? kWindowsScaleVariance : kHammingScaleVariance;
}

VectorXd Kernel::DefaultParameters() const {
  VectorXd parameters = VectorXd::Zero(this->parameters());
  parameters[0] = ScaleMean();
  parameters[1 + space_.dimensions()] = std::log(0.02);
  return parameters;
}

VectorXd Kernel::LowerBounds() const {
  VectorXd bounds = VectorXd::Constant(parameters(), -kDeltaBound);
  bounds[0] = std::log(0.05);
  bounds[1 + space_.dimensions()] = std::log(1e-4);
  if (windows()) bounds[2 + space_.dimensions()] = std::log(0.02);
  return bounds;
}

VectorXd Kernel::UpperBounds() const {
  VectorXd bounds = VectorXd::Constant(parameters(), kDeltaBound);
  bounds[0] = std::log(200.0);
  bounds[1 + space_.dimensions()] = std::log(2.0);
  if (windows()) bounds[2 + space_.dimensions()] = std::log(50.0);
  return bounds;
}

double Kernel::LogPrior(const VectorXd& parameters, VectorXd* gradient) const {
  const Index d = space_.dimensions();
  double density = -Square(parameters[0] - ScaleMean()) / (2 * ScaleVariance());
  (*gradient)[0] -= (parameters[0] - ScaleMean()) / ScaleVariance();
  const auto deltas = parameters.segment(1, d);
  density -= deltas.squaredNorm() / (2 * Square(kDeltaDeviation));
  gradient->segment(1, d) -= deltas / Square(kDeltaDeviation);
  const double noise = (parameters[1 + d] - kLogNoiseMean) / kLogNoiseDeviation;
  density -= noise * noise / 2;
  (*gradient)[1 + d] -= noise / kLogNoiseDeviation;
  if (windows()) {
    density -= Square(parameters[2 + d]) / 2;
    (*gradient)[2 + d] -= parameters[2 + d];
  }
  return density;
}

double Kernel::NoiseVariance(const VectorXd& parameters) const {
  return std::exp(parameters[1 + space_.dimensions()]);
}

double Kernel::SignalVariance(const VectorXd& parameters) const {
  return windows() ? std::exp(parameters[2 + space_.dimensions()]) : 1.0;
}

VectorXd Kernel::InverseSquareScales(const VectorXd& parameters) const {
  const auto deltas = parameters.segment(1, space_.dimensions()).array();
  return (-2 * (deltas + parameters[0])).exp();
}

double Kernel::WindowShare(const VectorXd& parameters) const {
  return windows() ? SignalVariance(parameters) / (space_.layers() - 1) : 1.0;
}

MatrixXd Kernel::LayerFactors(const VectorXd& parameters) const {
  const VectorXd w = InverseSquareScales(parameters);
  MatrixXd factors(states(), space_.layers());
  for (int layer = 0; layer < space_.layers(); ++layer) {
    for (int code = 0; code < states(); ++code) {
      double sum = 0;
      for (int bit = 0; bit < space_.bits_per_layer; ++bit) {
        if (code >> bit & 1) sum += w[layer * space_.bits_per_layer + bit];
      }
      factors(code, layer) = std::exp(-0.5 * sum);
    }
  }
  return factors;
}

CovarianceTables::CovarianceTables(const Kernel& kernel, const VectorXd& parameters,
                                   const std::vector<Point>& training)
    : space_(kernel.space()), windows_(kernel.kind() == KernelKind::kWindows) {
  const VectorXd w = kernel.InverseSquareScales(parameters);
  const Index n = static_cast<Index>(training.size());
  const int states = 1 << space_.bits_per_layer;
  std::vector<MatrixXd> layers;
  for (int layer = 0; layer < space_.layers(); ++layer) {
    VectorXd by_difference(states);  // indexed by the exclusive or of two states
    for (int code = 0; code < states; ++code) {
      double sum = 0;
      for (int bit = 0; bit < space_.bits_per_layer; ++bit) {
        if (code >> bit & 1) sum += w[layer * space_.bits_per_layer + bit];
      }
      by_difference[code] = std::exp(-0.5 * sum);
    }
    MatrixXd table(n, states);
    for (Index j = 0; j < n; ++j) {
      const int own = Code(training[static_cast<size_t>(j)], layer);
      for (int code = 0; code < states; ++code) table(j, code) = by_difference[own ^ code];
    }
    layers.push_back(std::move(table));
  }
  for (int i = space_.bits; i < space_.dimensions(); ++i) {
    MatrixXd table(n, space_.levels(i));
    for (Index j = 0; j < n; ++j) {
      const double own =
          space_.Coordinate(i, training[static_cast<size_t>(j)][static_cast<size_t>(i)]);
      for (int level = 0; level < space_.levels(i); ++level) {
        table(j, level) = std::exp(-0.5 * w[i] * Square(own - space_.Coordinate(i, level)));
      }
    }
    ordinals_.push_back(std::move(table));
  }
  if (!windows_) {
    layers_ = std::move(layers);
    return;
  }
  factor_ = kernel.SignalVariance(parameters) / (space_.layers() - 1);
  for (size_t l = 0; l + 1 < layers.size(); ++l) {
    MatrixXd window(n, states * states);
    for (int low = 0; low < states; ++low) {
      for (int high = 0; high < states; ++high) {
        window.col(low * states + high) =
            factor_ * layers[l].col(low).cwiseProduct(layers[l + 1].col(high));
      }
    }
    layers_.push_back(std::move(window));
  }
}

int CovarianceTables::Code(const Point& point, int layer) const {
  int code = 0;
  for (int bit = 0; bit < space_.bits_per_layer; ++bit) {
    code |= point[static_cast<size_t>(layer * space_.bits_per_layer + bit)] << bit;
  }
  return code;
}

MatrixXd CovarianceTables::Columns(const std::vector<Point>& points) const {
  const Index n = layers_.front().rows();
  const int states = 1 << space_.bits_per_layer;
  MatrixXd columns(n, static_cast<Index>(points.size()));
  for (size_t c = 0; c < points.size(); ++c) {
    auto column = columns.col(static_cast<Index>(c));
    int code = Code(points[c], 0);
    if (windows_) {
      column.setZero();
      for (size_t l = 0; l < layers_.size(); ++l) {
        const int next = Code(points[c], static_cast<int>(l) + 1);
        column += layers_[l].col(code * states + next);
        code = next;
      }
    } else {
      column = layers_[0].col(code);
      for (size_t l = 1; l < layers_.size(); ++l) {
        column.array() *= layers_[l].col(Code(points[c], static_cast<int>(l))).array();
      }
    }
    for (size_t o = 0; o < ordinals_.size(); ++o) {
      column.array() *= ordinals_[o].col(points[c][static_cast<size_t>(space_.bits) + o]).array();
    }
  }
  return columns;
}

}  // namespace mixrec::bo_driver
