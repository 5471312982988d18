// Steps on padded batches whose inputs lie on the device learn what plain steps on the CPU learn.
// On a CPU that tests padding and losses, on a GPU kernels and captured graphs, too.
#include "step_graphs_fixture.h"

namespace mixrec::worker {
namespace {

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

INSTANTIATE_TEST_SUITE_P(Places, StepGraphsTest, testing::ValuesIn(kPlaces));

}  // namespace
}  // namespace mixrec::worker
