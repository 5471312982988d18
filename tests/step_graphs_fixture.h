// Steps on padded batches, with and without a GPU, and how what they learn is compared.
#pragma once

#include <ATen/Context.h>
#include <gtest/gtest.h>

#include "worker/step_graphs.h"
#include "worker/train_step.h"
#include "worker_fixture.h"

namespace mixrec::worker {

inline constexpr int kSteps = 8;

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

inline constexpr Place kPlaces[] = {{},
                                    {at::kCPU, at::kFloat, Steps::kProportional},
                                    {at::kCUDA, at::kFloat, Steps::kAdamW, 1e-3, 2e-2},
                                    {at::kCUDA, at::kFloat, Steps::kProportional, 1e-3, 2e-3},
                                    {at::kCUDA, at::kBFloat16, Steps::kProportional, 3e-2, 0.15}};

}  // namespace mixrec::worker
