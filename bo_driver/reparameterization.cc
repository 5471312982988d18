#include "bo_driver/reparameterization.h"

#include <algorithm>
#include <cmath>

namespace mixrec::bo_driver {
namespace {

using Eigen::Index;
using Eigen::VectorXd;

// One restart: the distribution's parameters and Adam's moments. A bit has one entry of phi, an
// ordinal one a level.
struct Restart {
  VectorXd phi, first, second;
  double baseline = 0;
  Candidate best;
};

// The distribution over points that phi stands for.
class Distribution {
 public:
  Distribution(const SearchSpace& space, double temperature)
      : space_(space), temperature_(temperature) {
    for (int i = 0; i < space.dimensions(); ++i) {
      begins_.push_back(size_);
      size_ += i < space.bits ? 1 : space.levels(i);
    }
  }
  Index size() const { return size_; }

  // Probability of 1 for a bit, of each level for an ordinal. [size]
  VectorXd Probabilities(const VectorXd& phi) const {
    VectorXd theta(size_);
    for (int i = 0; i < space_.dimensions(); ++i) {
      const Index begin = begins_[static_cast<size_t>(i)];
      if (i < space_.bits) {
        theta[begin] = 1 / (1 + std::exp(-(phi[begin] - 0.5) / temperature_));
      } else {
        auto levels = theta.segment(begin, space_.levels(i)).array();
        levels = (phi.segment(begin, space_.levels(i)).array() / temperature_).exp();
        levels /= levels.sum();
      }
    }
    return theta;
  }

  Point Sample(const VectorXd& theta, RandomStream& stream) const {
    Point point(static_cast<size_t>(space_.dimensions()), 0);
    for (int i = 0; i < space_.dimensions(); ++i) {
      const Index begin = begins_[static_cast<size_t>(i)];
      double left = stream.Uniform();
      int level = 0;
      if (i < space_.bits) {
        level = left < theta[begin];
      } else {
        while (level + 1 < space_.levels(i) && left >= theta[begin + level]) {
          left -= theta[begin + level++];
        }
      }
      point[static_cast<size_t>(i)] = static_cast<uint8_t>(level);
    }
    return point;
  }

  // Adds `weight` times the gradient of ln p(point) with respect to phi.
  void AddScore(const Point& point, const VectorXd& theta, double weight,
                VectorXd* gradient) const {
    const double scaled = weight / temperature_;
    *gradient -= scaled * theta;
    for (int i = 0; i < space_.dimensions(); ++i) {
      const Index begin = begins_[static_cast<size_t>(i)];
      const int level = point[static_cast<size_t>(i)];
      if (i < space_.bits) {
        (*gradient)[begin] += scaled * level;
      } else {
        (*gradient)[begin + level] += scaled;
      }
    }
  }

  // phi that puts most of the probability near a point, or anywhere.
  VectorXd Around(const Point& point) const {
    VectorXd phi = VectorXd::Constant(size_, 0.3);
    for (int i = 0; i < space_.dimensions(); ++i) {
      const Index begin = begins_[static_cast<size_t>(i)];
      const int level = point[static_cast<size_t>(i)];
      if (i >= space_.bits) {
        phi[begin + level] = 0.7;
      } else if (level) {
        phi[begin] = 0.7;
      }
    }
    return phi;
  }
  VectorXd Anywhere(RandomStream& stream) const {
    VectorXd phi(size_);
    for (double& entry : phi) entry = 0.2 + 0.6 * stream.Uniform();
    return phi;
  }

 private:
  const SearchSpace& space_;
  double temperature_;
  std::vector<Index> begins_;
  Index size_ = 0;
};

void AdamStep(const VectorXd& gradient, int step, double learning_rate, Restart* restart) {
  constexpr double kFirst = 0.9, kSecond = 0.999, kEpsilon = 1e-8;
  restart->first = kFirst * restart->first + (1 - kFirst) * gradient;
  restart->second = kSecond * restart->second + (1 - kSecond) * gradient.cwiseAbs2();
  const double first_scale = 1 / (1 - std::pow(kFirst, step + 1));
  const double second_scale = 1 / (1 - std::pow(kSecond, step + 1));
  restart->phi.array() += learning_rate * first_scale * restart->first.array() /
                          ((second_scale * restart->second.array()).sqrt() + kEpsilon);
  restart->phi = restart->phi.cwiseMax(0).cwiseMin(1);
}

// Cuts samples, then steps, to the work limit.
ReparameterizationOptions Affordable(const AcquisitionProblem& problem,
                                     ReparameterizationOptions options) {
  const double n = problem.conditioned;
  const double value = n * n + 20 * n;  // multiply-adds of one acquisition value
  const auto work = [&] { return value * options.restarts * options.samples * options.steps; };
  while (work() > options.work && options.samples > 16) options.samples /= 2;
  while (work() > options.work && options.steps > 20) options.steps -= 5;
  while (work() > options.work && options.restarts > 2) options.restarts /= 2;
  return options;
}

// The score-function estimate from one restart's samples; updates its baseline and best sample.
VectorXd Gradient(const AcquisitionProblem& problem, const Distribution& distribution,
                  const std::vector<Point>& points, const VectorXd& values, Index begin,
                  const ReparameterizationOptions& options, int step, Restart* restart) {
  const VectorXd theta = distribution.Probabilities(restart->phi);
  const auto own = values.segment(begin, options.samples);
  const double mean = own.mean();
  restart->baseline =
      step == 0 ? mean
                : options.baseline_decay * restart->baseline + (1 - options.baseline_decay) * mean;
  const double deviation = std::sqrt((own.array() - mean).square().mean()) + 1e-9;
  VectorXd gradient = VectorXd::Zero(distribution.size());
  for (Index s = 0; s < options.samples; ++s) {
    const Point& point = points[static_cast<size_t>(begin + s)];
    const double weight = (own[s] - restart->baseline) / (deviation * options.samples);
    distribution.AddScore(point, theta, weight, &gradient);
    if (own[s] > restart->best.acquisition && problem.IsOpen(point)) {
      restart->best = {point, own[s]};
    }
  }
  return gradient;
}

}  // namespace

Candidate Reparameterize(const AcquisitionProblem& problem, const ReparameterizationOptions& wanted,
                         RandomStream stream) {
  const ReparameterizationOptions options = Affordable(problem, wanted);
  const Distribution distribution(*problem.space, options.temperature);
  std::vector<Restart> restarts(static_cast<size_t>(options.restarts));
  for (size_t r = 0; r < restarts.size(); ++r) {
    const bool promising = r % 2 == 0 && r / 2 < problem.promising.size();
    restarts[r].phi =
        promising ? distribution.Around(problem.promising[r / 2]) : distribution.Anywhere(stream);
    restarts[r].first = restarts[r].second = VectorXd::Zero(distribution.size());
  }
  for (int step = 0; step < options.steps; ++step) {
    std::vector<Point> points;
    for (const Restart& restart : restarts) {
      const VectorXd theta = distribution.Probabilities(restart.phi);
      for (int s = 0; s < options.samples; ++s)
        points.push_back(distribution.Sample(theta, stream));
    }
    const VectorXd values = (*problem.acquisition)(points);
    for (size_t r = 0; r < restarts.size(); ++r) {
      const Index begin = static_cast<Index>(r) * options.samples;
      const VectorXd gradient =
          Gradient(problem, distribution, points, values, begin, options, step, &restarts[r]);
      AdamStep(gradient, step, options.learning_rate, &restarts[r]);
    }
  }
  std::vector<Candidate> starts;
  for (const Restart& restart : restarts) {
    if (restart.best.found()) starts.push_back(restart.best);
  }
  return Climb(problem, std::move(starts));
}

}  // namespace mixrec::bo_driver
