// The product's train step on the golden cases: losses before and values after one AdamW step.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "golden_case.h"
#include "worker/train_step.h"

namespace mixrec::worker {
namespace {

std::vector<std::string> Cases() {
  std::vector<std::string> cases;
  const std::string folder = GoldenFolder() + "/mixrec";
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (std::filesystem::exists(entry.path() / "case.json")) {
      cases.push_back(entry.path().filename().string());
    }
  }
  std::sort(cases.begin(), cases.end());
  return cases;
}

void ExpectClose(double found, double expected, const char* what) {
  EXPECT_NEAR(found, expected, 1e-5 + 1e-4 * std::abs(expected)) << what;
}

// Adam's first step turns rounding noise of a gradient that is almost zero into a full step
// (golden/mixrec/README.md), so only values with a clear gradient are compared.
void ExpectClose(const at::Tensor& found, const at::Tensor& expected, const at::Tensor& gradient,
                 const std::string& name) {
  const at::Tensor clear = gradient.abs() > 1e-4 * gradient.abs().max();
  const at::Tensor difference = (found - expected).abs().masked_select(clear);
  if (difference.numel() == 0) return;
  const double tolerance = 1e-5 + 1e-4 * expected.abs().max().item<double>();
  EXPECT_LE(difference.max().item<double>(), tolerance) << name;
}

void CheckCase(const std::string& name) {
  const auto golden = LoadGoldenCase(GoldenFolder() + "/mixrec/" + name, at::kCPU, at::kFloat);
  ASSERT_TRUE(golden.ok()) << golden.status();
  ModelState state(golden->backbone, golden->options, golden->users, golden->items);
  for (const auto& [name, tensor] : state.Trainable()) {
    ASSERT_EQ(golden->trainable.count(name), 1u) << name;
    ASSERT_EQ(tensor.sizes(), golden->trainable.at(name).sizes()) << name;
    tensor.copy_(golden->trainable.at(name));
  }
  ASSERT_EQ(state.Trainable().size(), golden->trainable.size());
  state.Refresh();

  data::PackedBatch batch = golden->batch;
  if (!golden->options.has_cf()) batch.bpr_user.clear();
  const model::Losses losses = *TrainStep({}, &state).Run(batch, 0, 1e-2);
  ExpectClose(losses.sequence, golden->losses.at("seq"), "sequence");
  if (golden->options.lambda_align > 0) {  // not computed otherwise
    ExpectClose(losses.alignment, golden->losses.at("align"), "alignment");
  }
  ExpectClose(losses.contrastive, golden->losses.at("cl"), "contrastive");
  ExpectClose(losses.cf, golden->losses.at("cf"), "cf");
  ExpectClose(losses.total, golden->losses.at("total"), "total");
  int compared = 0;
  for (const auto& [name, tensor] : state.Trainable()) {
    const auto expected = golden->expected.find("adamw1." + name);
    const auto gradient = golden->expected.find("grad." + name);
    if (expected == golden->expected.end() || gradient == golden->expected.end()) continue;
    if (name == "cf.predict.bias") continue;
    ExpectClose(tensor, expected->second, gradient->second, name);
    ++compared;
  }
  EXPECT_GT(compared, 2);
}

// The cases are looked for when the test runs, not when it is registered.
TEST(GoldenTrainStep, LossesAndUpdatedValuesEqualTheReferenceInEveryCase) {
  if (GoldenFolder().empty()) GTEST_SKIP() << "no golden values: set MIXREC_SHARED";
  const std::vector<std::string> cases = Cases();
  EXPECT_FALSE(cases.empty());
  for (const std::string& name : cases) {
    SCOPED_TRACE(name);
    CheckCase(name);
  }
}

}  // namespace
}  // namespace mixrec::worker
