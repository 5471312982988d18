#include "worker/step_profile.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tensor/phase.h"
#include "worker/run_profile.h"
#include "worker_fixture.h"

namespace mixrec::worker {
namespace {

const ProfiledPhase* Find(const ProfileReport& report, const std::string& name) {
  for (const ProfiledPhase& phase : report.phases) {
    if (phase.name == name) return &phase;
  }
  return nullptr;
}

TEST(StepProfile, APhaseHasItsTimeWithoutPhasesInside) {
  const std::string folder = TestFolder();
  StepProfile profile(at::kCPU);
  const at::Tensor a = at::ones({400, 400});
  for (int step = 0; step < 2; ++step) {
    const tensor::Phase outer("mixrec::outer");
    const tensor::Phase inner("mixrec::inner");
    for (int i = 0; i < 5; ++i) at::mm(a, a);
  }
  const auto report = profile.Finish(2, folder, "products");
  ASSERT_TRUE(report.ok()) << report.status();
  const ProfiledPhase *outer = Find(*report, "outer"), *inner = Find(*report, "inner");
  ASSERT_TRUE(outer != nullptr && inner != nullptr);
  EXPECT_GT(inner->host, outer->host);
  EXPECT_LE(inner->host + outer->host, report->wall * 1.01);
  EXPECT_NE(ProfileText(*report).find("inner"), std::string::npos);
}

TEST(StepProfile, ARunsStepsGiveTheModelsPhasesAndATrace) {
  const std::string folder = TestFolder();
  const World world(folder);
  model::ModelOptions options = SmallModel();
  ASSERT_TRUE(model::ValidateModelOptions(2, &options).ok());
  ModelState state(world.backbone, options, world.dataset.users(), world.dataset.items());
  ASSERT_TRUE(state.Initialise(3).ok());
  TrainStep step({}, &state);
  const data::UniformNonCooccurring hard_samples(world.dataset);
  const std::vector<int32_t> users = data::TrainableUsers(world.dataset);
  const data::PackedBatch batch =
      data::BuildTrainingBatch(world.dataset, world.catalogue, hard_samples,
                               MakeBatchOptions(SmallTraining(), options, world.backbone.config), 0,
                               absl::MakeConstSpan(users).subspan(0, 2));
  RunProfile profile(folder + "/profile", at::kCPU);
  int64_t steps = 0;
  while (!profile.finished()) {
    ASSERT_TRUE(profile.BeforeStep(&step).ok());
    ASSERT_TRUE(step.Run(batch, steps++, 1e-3).ok());
  }
  EXPECT_EQ(steps, RunProfile::kWarmUp + RunProfile::kSteps + 1);
  std::ifstream table(folder + "/profile/steps.txt");
  const std::string text{std::istreambuf_iterator<char>(table), {}};
  for (const char* phase : {"forward/attention", "backward/attention", "forward/feed-forward"}) {
    EXPECT_NE(text.find(phase), std::string::npos) << text;
  }
  std::ifstream trace(folder + "/profile/steps.trace.json");
  const auto json = nlohmann::json::parse(trace, nullptr, /*allow_exceptions=*/false);
  ASSERT_FALSE(json.is_discarded());
  EXPECT_GT(json["traceEvents"].size(), 100u);
}

}  // namespace
}  // namespace mixrec::worker
