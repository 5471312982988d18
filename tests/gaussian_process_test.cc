#include "bo_driver/gaussian_process.h"

#include <gtest/gtest.h>

#include <cmath>

#include "bo_driver/acquisition.h"
#include "bo_driver/minimizer.h"

namespace mixrec::bo_driver {
namespace {

using Eigen::VectorXd;

SearchSpace Space() { return {12, 3, {EvenOrdinal("r", {1, 2, 3})}}; }

Observations Sample(const SearchSpace& space, int count) {
  Observations observations;
  observations.values.resize(count);
  observations.extra_noise = VectorXd::Zero(count);
  RandomStream stream(11);
  for (int i = 0; i < count; ++i) {
    const Point point = space.Random(stream);
    observations.values[i] = point[0] - point[4] + 0.5 * point[7] + 0.1 * stream.Normal();
    observations.points.push_back(point);
  }
  observations.values.array() -= observations.values.mean();
  observations.values /= std::sqrt(observations.values.squaredNorm() / count);
  return observations;
}

class EveryKernel : public ::testing::TestWithParam<KernelKind> {};
INSTANTIATE_TEST_SUITE_P(Kernels, EveryKernel,
                         ::testing::Values(KernelKind::kHamming, KernelKind::kWindows));

TEST_P(EveryKernel, GradientIsThatOfTheLogPosterior) {
  Observations observations = Sample(Space(), 14);
  observations.extra_noise[3] = 0.5;
  const GaussianProcess process(Space(), GetParam());
  VectorXd parameters = process.kernel().DefaultParameters();
  RandomStream stream(3);
  for (double& parameter : parameters) parameter += 0.3 * stream.Normal();
  VectorXd gradient;
  process.LogPosterior(observations, parameters, &gradient);
  for (Eigen::Index i = 0; i < parameters.size(); ++i) {
    VectorXd above = parameters, below = parameters;
    above[i] += 1e-5;
    below[i] -= 1e-5;
    const double slope = (process.LogPosterior(observations, above, nullptr) -
                          process.LogPosterior(observations, below, nullptr)) /
                         2e-5;
    EXPECT_NEAR(gradient[i], slope, 1e-6) << "parameter " << i;
  }
}

TEST_P(EveryKernel, TablesGiveTheKernel) {
  const Kernel kernel(Space(), GetParam());
  const Observations observations = Sample(Space(), 9);
  VectorXd parameters = kernel.DefaultParameters();
  parameters[2] += 0.4;
  const CovarianceTables tables(kernel, parameters, observations.points);
  const Eigen::MatrixXd columns = tables.Columns(observations.points);
  for (size_t j = 0; j < 9; ++j) {
    for (size_t k = 0; k < 9; ++k) {
      EXPECT_NEAR(columns(static_cast<Eigen::Index>(j), static_cast<Eigen::Index>(k)),
                  kernel.Covariance(parameters, observations.points[j], observations.points[k]),
                  1e-12);
    }
  }
}

TEST_P(EveryKernel, LeaveOneOutIsThatOfProcessesWithoutThePoint) {
  const Observations all = Sample(Space(), 10);
  GaussianProcess process(Space(), GetParam());
  ASSERT_TRUE(process.Fit(all, false));
  // Prediction of each value from the others at the same hyperparameters, the long way round.
  const Kernel& kernel = process.kernel();
  double density = 0;
  for (Eigen::Index left_out = 0; left_out < 10; ++left_out) {
    std::vector<Point> others = all.points;
    others.erase(others.begin() + left_out);
    VectorXd values(9);
    values << all.values.head(left_out), all.values.tail(9 - left_out);
    const CovarianceTables tables(kernel, process.parameters(), others);
    Eigen::MatrixXd covariance = tables.Columns(others);
    covariance.diagonal().array() += process.noise_variance() + 1e-8;
    const VectorXd column = tables.Columns({all.points[static_cast<size_t>(left_out)]});
    const Eigen::LDLT<Eigen::MatrixXd> solver(covariance);
    const double mean = column.dot(solver.solve(values));
    const double variance = kernel.SignalVariance(process.parameters()) + process.noise_variance() +
                            1e-8 - column.dot(solver.solve(column));
    const double error = all.values[left_out] - mean;
    density -= 0.5 * (error * error / variance + std::log(2 * M_PI * variance));
  }
  EXPECT_NEAR(process.leave_one_out().log_density, density, 1e-6);
}

TEST_P(EveryKernel, BelievedPointsKeepTheMeanAndShrinkTheVariance) {
  GaussianProcess process(Space(), GetParam());
  ASSERT_TRUE(process.Fit(Sample(Space(), 12), true));
  RandomStream stream(77);
  std::vector<Point> points;
  for (int i = 0; i < 20; ++i) points.push_back(Space().Random(stream));
  const Prediction before = process.Predict(points);
  process.Believe({points[0], points[1]});
  const Prediction after = process.Predict(points);
  EXPECT_LT((after.mean - before.mean).cwiseAbs().maxCoeff(), 1e-9);
  EXPECT_LT(after.variance[0], before.variance[0]);
  EXPECT_LE((after.variance - before.variance).maxCoeff(), 1e-9);
}

TEST(GaussianProcess, FitSurvivesEqualPointsAndEqualValues) {
  Observations observations;
  observations.points.assign(6, Space().AllSerial());
  observations.values = VectorXd::Zero(6);
  observations.extra_noise = VectorXd::Zero(6);
  GaussianProcess process(Space(), KernelKind::kHamming);
  EXPECT_TRUE(process.Fit(observations, true));
  EXPECT_NEAR(process.Predict({Space().AllParallel()}).mean[0], 0, 1e-9);
}

TEST(GaussianProcess, FitOfWhatIsNotANumberKeepsTheParameters) {
  Observations observations = Sample(Space(), 8);
  observations.values[2] = std::nan("");
  GaussianProcess process(Space(), KernelKind::kHamming);
  const VectorXd before = process.parameters();
  EXPECT_FALSE(process.Fit(observations, true));
  EXPECT_EQ(process.parameters(), before);
}

TEST(Minimizer, FindsTheMinimumWithinBounds) {
  // (x - 3)^2 + 10 (y + 1)^2 + x y, with y >= 0: y = 0 and x = 3.
  const SmoothFunction function = [](const VectorXd& x, VectorXd* gradient) {
    (*gradient)[0] = 2 * (x[0] - 3) + x[1];
    (*gradient)[1] = 20 * (x[1] + 1) + x[0];
    return (x[0] - 3) * (x[0] - 3) + 10 * (x[1] + 1) * (x[1] + 1) + x[0] * x[1];
  };
  MinimizerOptions options;
  options.tolerance = 1e-12;
  const Minimum minimum = Minimize(function, Eigen::Vector2d(-4, 2), Eigen::Vector2d(-10, 0),
                                   Eigen::Vector2d(10, 10), options);
  EXPECT_NEAR(minimum.x[0], 3, 1e-5);
  EXPECT_EQ(minimum.x[1], 0);
}

TEST(LogImprovement, AgreesWithTheDefinitionAndItsTail) {
  for (double z : {-6.0, -2.0, -1.0001, -0.9999, 0.0, 1.5, 8.0}) {
    const double improvement =
        std::exp(-z * z / 2) / std::sqrt(2 * M_PI) + z * 0.5 * std::erfc(-z / std::sqrt(2.0));
    EXPECT_NEAR(LogImprovement(z), std::log(improvement), 2e-7) << z;
  }
  // Mills' ratio: improvement ~ density / z^2.
  for (double z : {-40.0, -1e3, -9.9e3, -1.01e4, -1e6}) {
    const double tail = -z * z / 2 - 0.5 * std::log(2 * M_PI) - 2 * std::log(-z);
    EXPECT_NEAR(LogImprovement(z) - tail, 0, 3.5 / (z * z) + 1e-6) << z;
  }
}

}  // namespace
}  // namespace mixrec::bo_driver
