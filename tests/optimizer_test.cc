#include "tensor/optimizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/file.h"
#include "tests/test_folder.h"

namespace mixrec::tensor {
namespace {

// One AdamW update written as in the paper of Loshchilov & Hutter, in double.
at::Tensor Reference(const at::Tensor& value, const std::vector<at::Tensor>& gradients, double lr,
                     const AdamWOptions& o) {
  at::Tensor p = value.to(at::kDouble);
  at::Tensor m = at::zeros_like(p), v = at::zeros_like(p);
  for (size_t t = 1; t <= gradients.size(); ++t) {
    const at::Tensor g = gradients[t - 1].to(at::kDouble);
    m = o.beta1 * m + (1 - o.beta1) * g;
    v = o.beta2 * v + (1 - o.beta2) * g * g;
    const at::Tensor m_hat = m / (1 - std::pow(o.beta1, static_cast<double>(t)));
    const at::Tensor v_hat = v / (1 - std::pow(o.beta2, static_cast<double>(t)));
    p = p - lr * o.weight_decay * p - lr * m_hat / (v_hat.sqrt() + o.epsilon);
  }
  return p.to(at::kFloat);
}

TEST(AdamW, EqualsTheFormulaOverSeveralSteps) {
  at::manual_seed(1);
  const at::Tensor start = at::randn({1003});
  const std::vector<at::Tensor> gradients = {at::randn({1003}), at::randn({1003}),
                                             at::randn({1003}) * 1e-4};
  at::Tensor value = start.clone(), m = at::zeros_like(value), v = at::zeros_like(value);
  const AdamWOptions options;
  for (size_t t = 0; t < gradients.size(); ++t) {
    AdamWStep(options, 1e-2, static_cast<int64_t>(t) + 1, gradients[t], value, m, v);
  }
  EXPECT_TRUE(at::allclose(value, Reference(start, gradients, 1e-2, options), 1e-5, 1e-6));
}

TEST(RowAdamW, TouchesOnlyNamedRowsAndCountsEachRowsOwnSteps) {
  at::manual_seed(2);
  const at::Tensor start = at::randn({5, 8});
  at::Tensor value = start.clone(), m = at::zeros_like(value), v = at::zeros_like(value);
  at::Tensor counts = at::zeros({5}, at::kInt);
  const AdamWOptions options;
  const at::Tensor g1 = at::randn({2, 8}), g2 = at::randn({1, 8});
  RowAdamWStep(options, 1e-2, at::tensor({1, 3}, at::kLong), g1, value, m, v, counts);
  RowAdamWStep(options, 1e-2, at::tensor({3}, at::kLong), g2, value, m, v, counts);
  EXPECT_TRUE(at::equal(counts, at::tensor({0, 1, 0, 2, 0}, at::kInt)));
  for (int64_t row : {0, 2, 4}) EXPECT_TRUE(at::equal(value[row], start[row]));
  EXPECT_TRUE(at::allclose(value[1], Reference(start[1], {g1[0]}, 1e-2, options), 1e-5, 1e-6));
  EXPECT_TRUE(
      at::allclose(value[3], Reference(start[3], {g1[1], g2[0]}, 1e-2, options), 1e-5, 1e-6));
}

TEST(ClipGradientNorm, ScalesOnlyWhatIsTooLong) {
  at::Tensor gradient = at::full({4}, 2.0);  // norm 4
  EXPECT_NEAR(ClipGradientNorm(gradient, 0.0), 4.0, 1e-6);
  EXPECT_NEAR(ClipGradientNorm(gradient, 5.0), 4.0, 1e-6);
  EXPECT_NEAR(gradient.norm().item<double>(), 4.0, 1e-6);
  ClipGradientNorm(gradient, 1.0);
  EXPECT_NEAR(gradient.norm().item<double>(), 1.0, 1e-5);
}

TEST(GoldenLearningRate, EqualsTheScheduleAtEveryStep) {
  const std::string path = SharedFolder() + "/golden/lr_schedule.json";
  if (!PathExists(path)) GTEST_SKIP() << "no golden values: set MIXREC_SHARED";
  nlohmann::json schedules = nlohmann::json::parse(*ReadFile(path));
  if (!schedules.is_array()) schedules = nlohmann::json::array({schedules});
  for (const auto& schedule : schedules) {
    const double peak = schedule["peak"];
    const std::vector<double> rates = schedule["lr_at_step"];
    ASSERT_FALSE(rates.empty());
    for (size_t step = 0; step < rates.size(); ++step) {
      EXPECT_NEAR(CosineLearningRate(peak, static_cast<int64_t>(step), schedule["total_steps"],
                                     schedule["warmup_frac"]),
                  rates[step], 1e-9 * peak)
          << step;
    }
  }
}

TEST(CosineLearningRate, ARunOfOneStepTrainsAtThePeak) {
  EXPECT_DOUBLE_EQ(CosineLearningRate(1e-3, 0, 1), 1e-3);
}

}  // namespace
}  // namespace mixrec::tensor
