// Linear serial adapters folded into the frozen weights change nothing but rounding.
#include <gtest/gtest.h>

#include "worker_fixture.h"

namespace mixrec::worker {
namespace {

class FoldingTest : public ::testing::Test {
 protected:
  void SetUp() override { world_ = std::make_unique<World>(TestFolder()); }

  // The states of some sequences before, while and after the adapters are folded.
  void Check(model::ModelOptions options) {
    ASSERT_TRUE(model::ValidateModelOptions(2, &options).ok());
    ModelState state(world_->backbone, options, world_->dataset.users(), world_->dataset.items());
    ASSERT_TRUE(state.Initialise(3).ok());
    at::Tensor values = state.parameters().flat_value();
    values.add_(at::randn_like(values), 0.2);  // adapters start as the identity
    state.Refresh();
    const std::vector<int32_t> items{3, 1, 4, 1, 5};
    data::BatchOptions batch_options =
        MakeBatchOptions(SmallTraining(), options, world_->backbone.config);
    const data::PackedBatch batch = data::BuildEvaluationBatch(
        world_->catalogue, batch_options, {{0, items}, {1, absl::MakeConstSpan(items).subspan(2)}});
    const auto states = [&] {
      const model::CfRows rows = *state.PullRows(batch);
      return state.network().Forward(batch, rows, /*training=*/false).sequence;
    };
    const at::Tensor plain = states();
    state.network().Fold();
    const at::Tensor folded = states();
    state.network().Unfold();
    EXPECT_LE((folded - plain).norm().item<double>(), 1e-5 * plain.norm().item<double>());
    EXPECT_TRUE(at::equal(states(), plain));
  }

  std::unique_ptr<World> world_;
};

TEST_F(FoldingTest, SerialParallelAndMixedAdapters) {
  for (const char* architecture : {"000000", "111111", "010101", "101010"}) {
    SCOPED_TRACE(architecture);
    model::ModelOptions options = SmallModel();
    options.architecture = architecture;
    Check(options);
    options.adapter_activation = model::AdapterActivation::kGelu;
    Check(options);
  }
}

TEST_F(FoldingTest, InEveryMode) {
  for (const model::Mode mode : {model::Mode::kBase, model::Mode::kMoe, model::Mode::kLlmrec}) {
    SCOPED_TRACE(model::ModeName(mode));
    model::ModelOptions options = SmallModel();
    options.mode = mode;
    Check(options);
  }
}

}  // namespace
}  // namespace mixrec::worker
