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

// AdamW makes steps of full length of any gradient, be it hardly more than rounding. With an
// epsilon far above the gradients its steps are in proportion to them, so what has been learnt is
// compared as sharply as the gradients can be.
enum class Steps { kAdamW, kProportional };

struct Place {
  at::DeviceType device = at::kCPU;
  at::ScalarType type = at::kFloat;
  Steps steps = Steps::kAdamW;
  // Tolerances; of the sum of a tensor's steps relative to its length.
  double losses = 1e-4, updates = 2e-3;
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
    // The same frozen weights on both sides, rounded or not.
    const auto exact = model::CheckpointTensors(cpu_), rounded = model::CheckpointTensors(device_);
    for (size_t i = 0; i < exact.size(); ++i) exact[i].second.copy_(rounded[i].second);
    if (GetParam().device != at::kCPU) model::MoveBackbone(GetParam().device, &device_);
    if (GetParam().steps == Steps::kProportional) {
      adamw_.epsilon = 1;
      adamw_.weight_decay = 0;
      rate_ = 0.1;
    }
  }

  std::unique_ptr<ModelState> State(const model::Backbone& backbone,
                                    const model::ModelOptions& options) const {
    auto state = std::make_unique<ModelState>(backbone, options, world_->dataset.users(),
                                              world_->dataset.items(), adamw_);
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
    step_options.optimizer = adamw_;
    const auto plain = State(cpu_, options), resident = State(device_, options);
    TrainStep step(step_options, plain.get());
    DenseOptimizer optimizer(step_options.optimizer, &resident->parameters());
    StepGraphs graphs({{step_options, resident.get(), &optimizer}}, {});
    const std::vector<data::PackedBatch> batches = Batches(options);
    const std::vector<at::Tensor> initial = Clones(plain->Trainable());
    const double tolerance = GetParam().losses;
    for (int k = 0; k < kSteps; ++k) {
      SCOPED_TRACE(k);
      const model::Losses want = *step.Run(batches[k], k, rate_);
      const auto* next = k + 1 < kSteps && k != 2 ? &batches[k + 1] : nullptr;
      graphs.set_capture(k != 5);  // as a profile does
      const auto promised = k != 4 ? std::make_optional(rate_) : std::nullopt;
      const model::Losses have = graphs.Run({{&batches[k], k, rate_, next, promised}})[0];
      EXPECT_NEAR(have.sequence, want.sequence, tolerance);
      EXPECT_NEAR(have.alignment, want.alignment, tolerance);
      EXPECT_NEAR(have.contrastive, want.contrastive, tolerance);
      EXPECT_NEAR(have.cf, want.cf, tolerance);
      EXPECT_NEAR(have.total, want.total, tolerance);
    }
    EXPECT_LT(graphs.shapes(), kSteps) << "shapes should serve several batches";
    EXPECT_EQ(graphs.captured() > 0, GetParam().device == at::kCUDA);
    ExpectSameUpdates(initial, plain->Trainable(), resident->Trainable());
  }
  static std::vector<at::Tensor> Clones(const model::NamedTensors& tensors) {
    std::vector<at::Tensor> clones;
    for (const auto& [name, tensor] : tensors) clones.push_back(tensor.clone());
    return clones;
  }
  void ExpectSameUpdates(const std::vector<at::Tensor>& initial, const model::NamedTensors& wanted,
                         const model::NamedTensors& found) {
    for (size_t i = 0; i < wanted.size(); ++i) {
      const auto& [name, tensor] = wanted[i];
      if (name == "cf.predict.bias") continue;  // its gradient is rounding
      const double length = (tensor - initial[i]).norm().item<double>();
      const double distance = (tensor - found[i].second.cpu()).norm().item<double>();
      // The gate learns from the difference of the experts, a small part of what is rounded.
      const bool gate = name.find(".gate.") != std::string::npos;
      EXPECT_LE(distance, (gate ? 3 : 1) * GetParam().updates * length + 1e-7) << name;
      if (length > 1e-6) worst_ = std::max(worst_, distance / length);
    }
    RecordProperty("worst_update", std::to_string(worst_));
  }

  model::Backbone cpu_, device_;
  tensor::AdamWOptions adamw_;
  double rate_ = 3e-3;
  double worst_ = 0;  // relative distance of updates
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
  StepGraphs graphs({{{}, state.get(), &optimizer}}, {});
  const data::PackedBatch batch = Batches(options)[0];
  EXPECT_FALSE(std::isfinite(graphs.Run({{&batch, 0, 1e-2, nullptr}})[0].total));
  EXPECT_TRUE(at::equal(before, state->parameters().value("seq_token")));
}

// A candidate of a search: its architecture, and where in the batches it stands.
struct Candidate {
  std::string architecture;
  int64_t bottleneck = 4;
  size_t first = 0;
  double dropout = 0.2;
  model::Mode mode = model::Mode::kMixrec;
};

// A candidate's own parameters and optimiser.
struct Training {
  StepOptions options;
  std::unique_ptr<ModelState> state;
  std::unique_ptr<DenseOptimizer> optimizer;
  StepMember member() const { return {options, state.get(), optimizer.get()}; }
};

class SideBySideStepsTest : public StepGraphsTest {
 protected:
  void SetUp() override {
    StepGraphsTest::SetUp();
    if (!IsSkipped()) batches_ = Batches(SmallModel());
  }
  Training Make(const Candidate& candidate) const {
    model::ModelOptions options = SmallModel();
    options.architecture = candidate.architecture;
    options.bottleneck = candidate.bottleneck;
    options.dropout = candidate.dropout;
    options.mode = candidate.mode;
    EXPECT_TRUE(model::ValidateModelOptions(2, &options).ok());
    Training training;
    training.options.dropout_seed = 5;
    training.options.clip_norm = 0.5;
    training.options.optimizer = adamw_;
    training.state = State(device_, options);
    training.optimizer =
        std::make_unique<DenseOptimizer>(training.options.optimizer, &training.state->parameters());
    return training;
  }
  StepInput InputOf(const Candidate& candidate, int k) const {
    const size_t index = candidate.first + static_cast<size_t>(k);
    return {&batches_[index], k, rate_, k + 1 < kSide && k != 2 ? &batches_[index + 1] : nullptr};
  }
  // `initial`: the parameters of both before the first step.
  void ExpectEqual(const std::vector<at::Tensor>& initial, const Training& together,
                   const Training& alone) const {
    const auto wanted = alone.state->Trainable(), found = together.state->Trainable();
    for (size_t i = 0; i < wanted.size(); ++i) {
      const auto& [name, tensor] = wanted[i];
      if (name == "cf.predict.bias") continue;  // its gradient is rounding
      const double length = (tensor - initial[i]).norm().item<double>();
      EXPECT_LE((tensor - found[i].second).norm().item<double>(),
                GetParam().updates * length + 1e-7)
          << name;
    }
  }
  // Steps of all together, and of each alone.
  void Check(const std::vector<Candidate>& candidates) const {
    std::vector<Training> together, alone;
    std::vector<StepMember> members;
    std::vector<std::unique_ptr<StepGraphs>> own;
    for (const Candidate& candidate : candidates) {
      together.push_back(Make(candidate));
      members.push_back(together.back().member());
      alone.push_back(Make(candidate));
      own.push_back(std::make_unique<StepGraphs>(std::vector<StepMember>{alone.back().member()},
                                                 StepGraphOptions()));
    }
    std::vector<std::vector<at::Tensor>> initial;
    for (const Training& one : alone) initial.push_back(Clones(one.state->Trainable()));
    StepGraphs graphs(members, {});
    for (int k = 0; k < kSide; ++k) {
      std::vector<StepInput> inputs;
      for (const Candidate& one : candidates) inputs.push_back(InputOf(one, k));
      const std::vector<model::Losses> losses = graphs.Run(inputs);
      for (size_t i = 0; i < candidates.size(); ++i) {
        SCOPED_TRACE(StrCat("step ", k, ", candidate ", i));
        const model::Losses want = own[i]->Run({inputs[i]})[0];
        EXPECT_NEAR(losses[i].total, want.total, GetParam().losses);
        EXPECT_NEAR(losses[i].cf, want.cf, GetParam().losses);
      }
    }
    EXPECT_EQ(graphs.captured() > 0, GetParam().device == at::kCUDA);
    for (size_t i = 0; i < candidates.size(); ++i) {
      SCOPED_TRACE(i);
      ExpectEqual(initial[i], together[i], alone[i]);
    }
  }

  static constexpr int kSide = 6;
  std::vector<data::PackedBatch> batches_;
};

// The same batches and others, all kinds of layers, different adapters.
TEST_P(SideBySideStepsTest, LearnWhatEachLearnsAlone) {
  Check({{"010110"}, {"111111"}, {"000000"}, {"101001", 7}, {"001100", 4, 2}, {"110011", 4, 0, 0}});
}
TEST_P(SideBySideStepsTest, InEveryMode) {
  for (const model::Mode mode : {model::Mode::kBase, model::Mode::kMoe, model::Mode::kLlmrec}) {
    SCOPED_TRACE(model::ModeName(mode));
    const std::string other = mode == model::Mode::kMoe ? "101010" : "";
    Check({{"", 4, 0, 0.2, mode}, {other, 5, 1, 0, mode}});
  }
}

TEST_P(SideBySideStepsTest, ALossThatIsNotFiniteLeavesTheOthersAlone) {
  const std::vector<Candidate> candidates = {{"010110"}, {"111000"}};
  const Training broken = Make(candidates[0]), whole = Make(candidates[1]);
  const Training alone = Make(candidates[1]);
  broken.state->Tensor("damoe.0.causal.down.weight").fill_(std::nan(""));
  broken.state->Refresh();
  const at::Tensor before = broken.state->parameters().value("seq_token").clone();
  const std::vector<at::Tensor> initial = Clones(alone.state->Trainable());
  StepGraphs graphs({broken.member(), whole.member()}, {}), own({alone.member()}, {});
  for (int k = 0; k < kSide; ++k) {
    const StepInput input = InputOf(candidates[1], k);
    const std::vector<model::Losses> losses = graphs.Run({input, input});
    EXPECT_FALSE(std::isfinite(losses[0].total));
    EXPECT_NEAR(losses[1].total, own.Run({input})[0].total, GetParam().losses);
  }
  EXPECT_TRUE(at::equal(before, broken.state->parameters().value("seq_token")));
  ExpectEqual(initial, whole, alone);
}

constexpr Place kPlaces[] = {{},
                             {at::kCPU, at::kFloat, Steps::kProportional},
                             {at::kCUDA, at::kFloat, Steps::kAdamW, 1e-3, 2e-2},
                             {at::kCUDA, at::kFloat, Steps::kProportional, 1e-3, 2e-3},
                             {at::kCUDA, at::kBFloat16, Steps::kProportional, 3e-2, 0.15}};

INSTANTIATE_TEST_SUITE_P(Places, StepGraphsTest, testing::ValuesIn(kPlaces));
INSTANTIATE_TEST_SUITE_P(Places, SideBySideStepsTest, testing::ValuesIn(kPlaces));

}  // namespace
}  // namespace mixrec::worker
