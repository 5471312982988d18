#include "worker/train_step.h"

#include <gtest/gtest.h>

#include <cmath>

#include "worker_fixture.h"

namespace mixrec::worker {
namespace {

class TrainStepTest : public ::testing::Test {
 protected:
  void SetUp() override { world_ = std::make_unique<World>(TestFolder()); }

  model::ModelOptions Validated(model::ModelOptions options) const {
    EXPECT_TRUE(model::ValidateModelOptions(2, &options).ok());
    return options;
  }
  std::unique_ptr<ModelState> State(const model::ModelOptions& options) const {
    auto state = std::make_unique<ModelState>(world_->backbone, options, world_->dataset.users(),
                                              world_->dataset.items());
    EXPECT_TRUE(state->Initialise(3).ok());
    return state;
  }
  data::PackedBatch Batch(const model::ModelOptions& options) const {
    const data::UniformNonCooccurring hard_samples(world_->dataset);
    const std::vector<int32_t> users{0, 1, 2, 3};
    return data::BuildTrainingBatch(
        world_->dataset, world_->catalogue, hard_samples,
        MakeBatchOptions(SmallTraining(), options, world_->backbone.config), 0, users);
  }
  double LossOfOneStep(const model::ModelOptions& options, uint64_t dropout_seed, int64_t step) {
    const auto state = State(options);
    StepOptions step_options;
    step_options.dropout_seed = dropout_seed;
    return TrainStep(step_options, state.get()).Run(Batch(options), step, 1e-3)->total;
  }

  std::unique_ptr<World> world_;
};

TEST_F(TrainStepTest, RepeatedStepsOnOneBatchLowerEveryLoss) {
  const model::ModelOptions options = Validated(SmallModel());
  const auto state = State(options);
  const data::PackedBatch batch = Batch(options);
  TrainStep step({}, state.get());
  const model::Losses first = *step.Run(batch, 0, 1e-2);
  model::Losses last;
  for (int k = 1; k < 40; ++k) last = *step.Run(batch, k, 1e-2);
  EXPECT_LT(last.sequence, 0.7 * first.sequence);
  EXPECT_LT(last.alignment, 0.7 * first.alignment);
  EXPECT_LT(last.cf, first.cf);
  EXPECT_NEAR(last.total,
              last.sequence + options.lambda_align * last.alignment +
                  options.lambda_cl * last.contrastive + options.lambda_cf * last.cf,
              1e-9);
  EXPECT_GT(step.times().total(), 0);
}

TEST_F(TrainStepTest, PartsWithoutWeightAreNotComputed) {
  model::ModelOptions options = SmallModel();
  options.mode = model::Mode::kLlmrec;
  options.lambda_align = options.lambda_cl = 0;
  options = Validated(options);
  const data::PackedBatch batch = Batch(options);
  EXPECT_TRUE(batch.alignment_rows.empty());
  EXPECT_TRUE(batch.bpr_user.empty());
  const auto state = State(options);
  const model::Losses losses = *TrainStep({}, state.get()).Run(batch, 0, 1e-3);
  EXPECT_GT(losses.sequence, 0);
  EXPECT_EQ(losses.alignment, 0);
  EXPECT_EQ(losses.contrastive, 0);
  EXPECT_EQ(losses.cf, 0);
  EXPECT_EQ(losses.total, losses.sequence);
}

TEST_F(TrainStepTest, DropoutIsAFunctionOfSeedAndStep) {
  model::ModelOptions options = SmallModel();
  options.dropout = 0.3;
  options = Validated(options);
  const double loss = LossOfOneStep(options, 1, 5);
  EXPECT_EQ(loss, LossOfOneStep(options, 1, 5));
  EXPECT_NE(loss, LossOfOneStep(options, 1, 6));
  EXPECT_NE(loss, LossOfOneStep(options, 2, 5));
}

TEST_F(TrainStepTest, ClippingLeavesItemProjectionAndTableRowsAsTheyAre) {
  const model::ModelOptions options = Validated(SmallModel());
  const data::PackedBatch batch = Batch(options);
  const auto run = [&](double clip_norm) {
    auto state = State(options);
    StepOptions step_options;
    step_options.clip_norm = clip_norm;
    TrainStep step(step_options, state.get());
    EXPECT_TRUE(step.Run(batch, 0, 1e-3).ok());
    return std::make_pair(std::move(state), step.OptimizerState());
  };
  const auto [free_state, free_moments] = run(0);
  const auto [clipped_state, clipped_moments] = run(1e-3);
  for (size_t k = 0; k < free_moments.size(); ++k) {
    const auto& [name, tensor] = free_moments[k];
    const bool is_table =
        name.find("_gmf") != std::string::npos || name.find("item_proj") != std::string::npos;
    const bool is_dense = name == "first_moment.seq_token";
    if (is_table) {
      EXPECT_TRUE(at::equal(tensor, clipped_moments[k].second)) << name;
    }
    if (is_dense) {
      EXPECT_LT(clipped_moments[k].second.norm().item<double>(),
                0.5 * tensor.norm().item<double>());
    }
  }
}

TEST_F(TrainStepTest, ALossThatIsNotFiniteChangesNothing) {
  const model::ModelOptions options = Validated(SmallModel());
  const auto state = State(options);
  state->Tensor("item_proj.bias").fill_(std::nan(""));
  const at::Tensor before = state->parameters().value("seq_token").clone();
  const model::Losses losses = *TrainStep({}, state.get()).Run(Batch(options), 0, 1e-3);
  EXPECT_FALSE(std::isfinite(losses.total));
  EXPECT_TRUE(at::equal(before, state->parameters().value("seq_token")));
}

}  // namespace
}  // namespace mixrec::worker
