// Steps on padded batches whose inputs lie on the device learn what plain steps on the CPU learn.
// On a CPU that tests padding and losses, on a GPU kernels and captured graphs, too.
#include "worker/step_graphs.h"

#include <ATen/Context.h>
#include <gtest/gtest.h>

#include "worker/train_step.h"
#include "worker_fixture.h"

namespace mixrec::worker {
namespace {

constexpr int kSteps = 8;
constexpr double kRate = 3e-3;

struct Place {
  at::DeviceType device = at::kCPU;
  at::ScalarType type = at::kFloat;
  // Tolerances; relative for parameters. AdamW makes steps of full length of gradients that are
  // hardly more than bf16's rounding.
  double losses = 1e-4, parameters = 2e-3;
};

class StepGraphsTest : public ::testing::TestWithParam<Place> {
 protected:
  void SetUp() override {
    if (GetParam().device == at::kCUDA && !at::hasCUDA()) {
      GTEST_SKIP() << "no CUDA GPU on this machine";
    }
    world_ = std::make_unique<World>(TestFolder());
    // Heads and widths for which the GPU has kernels of their own.
    model::OptConfig config = world_->backbone.config;
    config.hidden = config.word_width = 64;
    config.heads = 2;
    config.ffn = 128;
    cpu_ = *model::RandomBackbone(config, 7, at::kFloat);
    device_ = *model::RandomBackbone(config, 7, GetParam().type);
    if (GetParam().device != at::kCPU) model::MoveBackbone(GetParam().device, &device_);
  }

  std::unique_ptr<ModelState> State(const model::Backbone& backbone,
                                    const model::ModelOptions& options) const {
    auto state = std::make_unique<ModelState>(backbone, options, world_->dataset.users(),
                                              world_->dataset.items());
    EXPECT_TRUE(state->Initialise(3).ok());
    state->projection().PrepareTraining(nullptr);
    return state;
  }
  std::vector<data::PackedBatch> Batches(const model::ModelOptions& options) const {
    const data::UniformNonCooccurring hard_samples(world_->dataset);
    const std::vector<int32_t> users = data::TrainableUsers(world_->dataset);
    std::vector<data::PackedBatch> batches;
    for (size_t i = 0; i < kSteps; ++i) {
      batches.push_back(data::BuildTrainingBatch(
          world_->dataset, world_->catalogue, hard_samples,
          MakeBatchOptions(SmallTraining(), options, world_->backbone.config), 0,
          absl::MakeConstSpan(users).subspan(3 * i, 2 + i % 2)));
    }
    return batches;
  }
  // The same steps plain on the CPU, and resident.
  void Check(model::ModelOptions options, double clip_norm = 0) {
    ASSERT_TRUE(model::ValidateModelOptions(2, &options).ok());
    StepOptions step_options;
    step_options.dropout_seed = 5;
    step_options.clip_norm = clip_norm;
    const auto plain = State(cpu_, options), resident = State(device_, options);
    TrainStep step(step_options, plain.get());
    DenseOptimizer optimizer(step_options.optimizer, &resident->parameters());
    StepGraphs graphs(step_options, StepGraphOptions(), resident.get(), &optimizer);
    const std::vector<data::PackedBatch> batches = Batches(options);
    const double tolerance = GetParam().losses;
    for (int k = 0; k < kSteps; ++k) {
      SCOPED_TRACE(k);
      const model::Losses want = *step.Run(batches[k], k, kRate);
      const auto* next = k + 1 < kSteps && k != 2 ? &batches[k + 1] : nullptr;
      const model::Losses have = graphs.Run(batches[k], k, kRate, next);
      EXPECT_NEAR(have.sequence, want.sequence, tolerance);
      EXPECT_NEAR(have.alignment, want.alignment, tolerance);
      EXPECT_NEAR(have.contrastive, want.contrastive, tolerance);
      EXPECT_NEAR(have.cf, want.cf, tolerance);
      EXPECT_NEAR(have.total, want.total, tolerance);
    }
    EXPECT_LT(graphs.shapes(), kSteps) << "shapes should serve several batches";
    EXPECT_EQ(graphs.captured() > 0, GetParam().device == at::kCUDA);
    const auto wanted = plain->Trainable(), found = resident->Trainable();
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (wanted[i].first == "cf.predict.bias") continue;  // its gradient is rounding
      const double scale = wanted[i].second.norm().item<double>();
      EXPECT_LE((wanted[i].second - found[i].second.cpu()).norm().item<double>(),
                GetParam().parameters * scale + 1e-6)
          << wanted[i].first;
    }
  }

  model::Backbone cpu_, device_;
  std::unique_ptr<World> world_;
};

TEST_P(StepGraphsTest, LearnWhatPlainStepsLearn) {
  model::ModelOptions options = SmallModel();
  options.architecture = "010110";
  Check(options);
}
TEST_P(StepGraphsTest, WithDropoutAndClipping) {
  model::ModelOptions options = SmallModel();
  options.dropout = 0.2;
  Check(options, 0.05);
}
TEST_P(StepGraphsTest, WithMatrixFactorisationAndItemColumnsOnly) {
  model::ModelOptions options = SmallModel();
  options.cf = model::CfKind::kMf;
  options.inject_user = false;
  Check(options);
}
TEST_P(StepGraphsTest, InEveryMode) {
  for (const model::Mode mode : {model::Mode::kBase, model::Mode::kMoe, model::Mode::kLlmrec}) {
    SCOPED_TRACE(model::ModeName(mode));
    model::ModelOptions options = SmallModel();
    options.mode = mode;
    if (mode == model::Mode::kLlmrec) options.lambda_align = options.lambda_cl = 0;
    Check(options);
  }
}

TEST_P(StepGraphsTest, ALossThatIsNotFiniteChangesNothing) {
  model::ModelOptions options = SmallModel();
  ASSERT_TRUE(model::ValidateModelOptions(2, &options).ok());
  const auto state = State(device_, options);
  state->Tensor("item_proj.bias").fill_(std::nan(""));
  const at::Tensor before = state->parameters().value("seq_token").clone();
  DenseOptimizer optimizer({}, &state->parameters());
  StepGraphs graphs({}, {}, state.get(), &optimizer);
  EXPECT_FALSE(std::isfinite(graphs.Run(Batches(options)[0], 0, 1e-2, nullptr).total));
  EXPECT_TRUE(at::equal(before, state->parameters().value("seq_token")));
}

INSTANTIATE_TEST_SUITE_P(Places, StepGraphsTest,
                         testing::Values(Place{}, Place{at::kCUDA, at::kFloat, 1e-3, 2e-2},
                                         Place{at::kCUDA, at::kBFloat16, 3e-2, 0.5}));

}  // namespace
}  // namespace mixrec::worker
