// Covariances of all pairs of observations and their gradient: what a fit spends its time on.
#include <algorithm>
#include <cmath>

#include "bo_driver/kernel.h"

namespace mixrec::bo_driver {
namespace {

using Eigen::ArrayXd;
using Eigen::ArrayXXd;
using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr Index kBlock = 512;  // pairs whose factors stay in the cache

double Square(double x) { return x * x; }

int LayerCode(const SearchSpace& space, const Point& point, int layer) {
  int code = 0;
  for (int bit = 0; bit < space.bits_per_layer; ++bit) {
    code |= point[static_cast<size_t>(layer * space.bits_per_layer + bit)] << bit;
  }
  return code;
}

// factors(codes[pair], layer) of the pairs of a block. [count, layers]
void LookUp(const MatrixXd& factors, const PairDifferences& pairs, Index begin, Index count,
            ArrayXXd* found) {
  for (Index layer = 0; layer < factors.cols(); ++layer) {
    const uint8_t* codes = pairs.codes[static_cast<size_t>(layer)].data() + begin;
    const double* table = factors.col(layer).data();
    double* out = found->col(layer).data();
    for (Index p = 0; p < count; ++p) out[p] = table[codes[p]];
  }
}

// Sums of values by code. Four partial sums: neighbouring pairs often have the same code, and an
// addition would wait for the one before.
void AddByCode(const uint8_t* codes, const double* values, Index count, double* sums, int states) {
  constexpr int kWays = 4, kMostStates = 256;
  double partial[kWays][kMostStates] = {};
  for (Index p = 0; p < count; ++p) partial[p % kWays][codes[p]] += values[p];
  for (int code = 0; code < states; ++code) {
    sums[code] += partial[0][code] + partial[1][code] + partial[2][code] + partial[3][code];
  }
}

using Rows = Eigen::Ref<const ArrayXXd, 0, Eigen::OuterStride<>>;  // [pairs of a block, layers]

// A pair's covariance but for a constant and the ordinals: the product of all layers' factors, or
// the sum of the windows' products.
ArrayXd Combine(const Rows& factors, bool windows) {
  ArrayXd combined = windows ? ArrayXd(factors.col(0) * factors.col(1)) : ArrayXd(factors.col(0));
  for (Index layer = 1; layer + windows < factors.cols(); ++layer) {
    if (windows) {
      combined += factors.col(layer) * factors.col(layer + 1);
    } else {
      combined *= factors.col(layer);
    }
  }
  return combined;
}

// The sum of the windows' products that a layer is in.
ArrayXd WindowsOf(const Rows& factors, Index layer) {
  ArrayXd neighbours = ArrayXd::Zero(factors.rows());
  if (layer > 0) neighbours += factors.col(layer - 1);
  if (layer + 1 < factors.cols()) neighbours += factors.col(layer + 1);
  return neighbours * factors.col(layer);
}

}  // namespace

PairDifferences Kernel::Differences(const std::vector<Point>& points) const {
  const Index n = static_cast<Index>(points.size());
  PairDifferences pairs;
  pairs.count = n * (n - 1) / 2;
  for (int layer = 0; layer < space_.layers(); ++layer) {
    std::vector<uint8_t> own;
    for (const Point& point : points) {
      own.push_back(static_cast<uint8_t>(LayerCode(space_, point, layer)));
    }
    std::vector<uint8_t>& codes = pairs.codes.emplace_back();
    codes.reserve(static_cast<size_t>(pairs.count));
    for (size_t k = 0; k < own.size(); ++k) {
      for (size_t j = k + 1; j < own.size(); ++j) codes.push_back(own[j] ^ own[k]);
    }
  }
  const Index others = static_cast<Index>(space_.ordinals.size());
  pairs.ordinals.resize(pairs.count, others);
  for (int o = 0; o < others; ++o) {
    const auto coordinate = [&](Index j) {
      const int dimension = space_.bits + o;
      return space_.Coordinate(dimension,
                               points[static_cast<size_t>(j)][static_cast<size_t>(dimension)]);
    };
    Index row = 0;
    for (Index k = 0; k < n; ++k) {
      for (Index j = k + 1; j < n; ++j) {
        pairs.ordinals(row++, o) = Square(coordinate(j) - coordinate(k));
      }
    }
  }
  return pairs;
}

ArrayXd Kernel::OrdinalFactors(const VectorXd& parameters, const PairDifferences& pairs) const {
  if (pairs.ordinals.cols() == 0) return ArrayXd::Ones(pairs.count);
  const VectorXd w = InverseSquareScales(parameters).tail(pairs.ordinals.cols());
  return (-0.5 * (pairs.ordinals * w).array()).exp();
}

VectorXd Kernel::Covariances(const VectorXd& parameters, const PairDifferences& pairs) const {
  const MatrixXd factors = LayerFactors(parameters);
  ArrayXd covariances = OrdinalFactors(parameters, pairs) * WindowShare(parameters);
  ArrayXXd found(kBlock, factors.cols());
  for (Index begin = 0; begin < pairs.count; begin += kBlock) {
    const Index count = std::min(kBlock, pairs.count - begin);
    LookUp(factors, pairs, begin, count, &found);
    covariances.segment(begin, count) *= Combine(found.topRows(count), windows());
  }
  return covariances;
}

// `weighted`: weights, ordinals' factors and the windows' share of every pair; becomes the weighted
// covariances. Returns them summed by how a layer differs, of the terms that the layer is in.
// [states, layers]
MatrixXd Kernel::SumsByCode(const MatrixXd& factors, const PairDifferences& pairs,
                            ArrayXd* weighted) const {
  MatrixXd sums = MatrixXd::Zero(states(), factors.cols());
  ArrayXXd found(kBlock, factors.cols());
  for (Index begin = 0; begin < pairs.count; begin += kBlock) {
    const Index count = std::min(kBlock, pairs.count - begin);
    LookUp(factors, pairs, begin, count, &found);
    const auto rows = found.topRows(count);
    auto outer = weighted->segment(begin, count);
    const ArrayXd whole = outer * Combine(rows, windows());
    for (Index layer = 0; layer < factors.cols(); ++layer) {
      const ArrayXd terms = windows() ? ArrayXd(outer * WindowsOf(rows, layer)) : whole;
      AddByCode(pairs.codes[static_cast<size_t>(layer)].data() + begin, terms.data(), count,
                sums.col(layer).data(), states());
    }
    outer = whole;
  }
  return sums;
}

void Kernel::AddGradient(const VectorXd& parameters, const PairDifferences& pairs,
                         const VectorXd& weights, VectorXd* gradient) const {
  const Index d = space_.dimensions(), others = pairs.ordinals.cols();
  ArrayXd weighted = weights.array() * OrdinalFactors(parameters, pairs) * WindowShare(parameters);
  const MatrixXd sums = SumsByCode(LayerFactors(parameters), pairs, &weighted);
  VectorXd by_scale = VectorXd::Zero(d);  // derivative with respect to ln l_i
  for (int i = 0; i < space_.bits; ++i) {
    const int layer = i / space_.bits_per_layer, bit = i % space_.bits_per_layer;
    for (int code = 0; code < states(); ++code) {
      if (code >> bit & 1) by_scale[i] += sums(code, layer);
    }
  }
  if (others > 0) by_scale.tail(others) = pairs.ordinals.transpose() * weighted.matrix();
  by_scale.array() *= InverseSquareScales(parameters).array();
  (*gradient)[0] += by_scale.sum();
  gradient->segment(1, d) += by_scale;
  if (windows()) (*gradient)[2 + d] += weighted.sum();
}

double Kernel::Covariance(const VectorXd& parameters, const Point& a, const Point& b) const {
  return Covariances(parameters, Differences({a, b}))[0];
}

}  // namespace mixrec::bo_driver
