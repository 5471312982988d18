// Steps of ranks and with servers on padded batches, as a GPU makes them, learn what plain steps
// learn. Where there is a GPU, their segments are captured graphs.
#include "worker/segmented_step.h"

#include <ATen/Context.h>
#include <gtest/gtest.h>

#include "data/step_share.h"
#include "rank_training.h"
#include "served_rank_training.h"
#include "training_records.h"
#include "worker/checkpoint.h"
#include "worker/train_step.h"

namespace mixrec::worker {
namespace {

class SegmentedTrainingTest : public RankTrainingTest {
 protected:
  void SetUp() override {
    RankTrainingTest::SetUp();
    options_.batch = 7;
    options_.epochs = 3;
    options_.learning_rate = 5e-5;
    options_.padding = StepPadding::kAlways;
  }
  // With tables on `shards` servers, or in the ranks.
  RankResults Train(const std::string& run, int ranks, int shards = 0) const {
    if (shards == 0) return TrainRanks(*world_, ranks, model_, options_, run);
    return TrainServedRanks(*world_, ranks, shards, model_, options_, run);
  }
  // By one process, plain, with the tables in it.
  std::string TrainAlone(const std::string& name) {
    options_.padding = StepPadding::kNever;
    const std::string run = Run(name);
    EXPECT_TRUE(TrainRun(*world_, model_, options_, run).ok());
    options_.padding = StepPadding::kAlways;
    return run;
  }
  // Losses of every step, relative, and what was learnt.
  void ExpectEqual(const std::string& a, const std::string& b, double tolerance = 1e-5) const {
    ASSERT_FALSE(Losses(a).empty());
    ExpectEqualCurves(a, b, tolerance);
    const auto wanted = ReadTensors(*FindCheckpoint(a, "last") + "/model.safetensors");
    const auto found = ReadTensors(*FindCheckpoint(b, "last") + "/model.safetensors");
    ASSERT_EQ(wanted.size(), found.size());
    for (const auto& [name, value] : wanted) {
      if (name == "cf.predict.bias") continue;  // its gradient is rounding
      const double scale = value.norm().item<double>();
      EXPECT_LE((value - found.at(name)).norm().item<double>(), 2e-3 * scale + 1e-5) << name;
    }
  }
};

TEST_F(SegmentedTrainingTest, RanksLearnWhatOneProcessLearns) {
  const std::string alone = TrainAlone("alone");
  for (const int ranks : {1, 2, 3}) {
    const std::string run = Run(StrCat("ranks-", ranks));
    ExpectAllOk(Train(run, ranks));
    ExpectEqual(alone, run);
  }
}

TEST_F(SegmentedTrainingTest, WithServersTheyLearnTheSame) {
  const std::string alone = TrainAlone("alone");
  for (const int ranks : {1, 2}) {
    const std::string run = Run(StrCat("ranks-", ranks));
    ExpectAllOk(Train(run, ranks, /*shards=*/3));
    ExpectEqualCurves(alone, run);
  }
}

TEST_F(SegmentedTrainingTest, EveryModelAndClipping) {
  options_.clip_norm = 0.05;
  options_.epochs = 1;
  options_.learning_rate = 1e-3;
  using model::Mode;
  for (const auto& [mode, lambda] :
       {std::pair(Mode::kLlmrec, 0.5), std::pair(Mode::kBase, 0.0), std::pair(Mode::kMixrec, 0.0),
        std::pair(Mode::kMixrec, 0.5)}) {
    model_.mode = mode;
    model_.lambda_align = lambda;
    const std::string name = StrCat(model::ModeName(mode), lambda);
    const std::string alone = TrainAlone(name);
    for (const int shards : {0, 2}) {
      const std::string run = Run(StrCat(name, "-", shards));
      ExpectAllOk(Train(run, 2, shards));
      ExpectClose(Losses(alone), Losses(run), 2e-4);
    }
  }
}

TEST_F(SegmentedTrainingTest, RanksWithoutUsersTakePart) {
  options_.batch = 2;
  options_.epochs = 1;
  const std::string alone = TrainAlone("alone");
  for (const int shards : {0, 2}) {
    const std::string run = Run(StrCat("shared-", shards));
    ExpectAllOk(Train(run, 4, shards));
    ExpectClose(Losses(alone), Losses(run), 1e-4);
  }
}

TEST_F(SegmentedTrainingTest, ACheckpointGoesOnInPlainStepsAndBack) {
  const std::string whole = Run("whole");
  ExpectAllOk(Train(whole, 2));
  for (const StepPadding padding : {StepPadding::kAlways, StepPadding::kNever}) {
    const std::string parts = Run(StrCat("parts-", static_cast<int>(padding)));
    options_.simulate_preemption = 5;
    for (const auto& stopped : Train(parts, 2)) {
      ASSERT_TRUE(absl::IsCancelled(stopped.status())) << stopped.status();
    }
    options_.simulate_preemption = 0;
    options_.padding = padding;
    ExpectAllOk(Train(parts, 2));
    options_.padding = StepPadding::kAlways;
    ExpectEqual(whole, parts);
    if (padding == StepPadding::kAlways) {
      EXPECT_EQ(Losses(whole), Losses(parts));
    }
  }
}

TEST_F(SegmentedTrainingTest, ALossThatIsNotFiniteEndsAllAlike) {
  options_.learning_rate = 1e3;
  for (const int shards : {0, 2}) {
    for (const auto& result : Train(Run(StrCat("run-", shards)), 2, shards)) {
      EXPECT_EQ(ExitCodeOf(result.status()), kExitFailure);
      EXPECT_NE(std::string(result.status().message()).find("not finite"), std::string::npos);
    }
  }
}

// Steps of a rank that is a group by itself.
class SegmentedStepTest : public ::testing::TestWithParam<at::DeviceType> {
 protected:
  void SetUp() override {
    if (GetParam() == at::kCUDA && !at::hasCUDA()) GTEST_SKIP() << "no CUDA GPU on this machine";
    world_ = std::make_unique<World>(TestFolder());
    model::OptConfig config = world_->backbone.config;
    config.hidden = config.word_width = 64;  // the GPU has kernels for heads of 32
    config.heads = 2;
    config.ffn = 128;
    world_->backbone = *model::RandomBackbone(config, 7, at::kFloat);
    if (GetParam() == at::kCUDA) model::MoveBackbone(GetParam(), &world_->backbone);
    EXPECT_TRUE(model::ValidateModelOptions(2, &model_).ok());
  }
  std::unique_ptr<ModelState> State(const Placement& placement = {}) const {
    auto state =
        std::make_unique<ModelState>(world_->backbone, model_, world_->dataset.users(),
                                     world_->dataset.items(), tensor::AdamWOptions(), placement);
    EXPECT_TRUE(state->Initialise(3).ok());
    return state;
  }
  data::PackedBatch Batch(size_t first, size_t count) const {
    const data::UniformNonCooccurring hard_samples(world_->dataset);
    const std::vector<int32_t> users = data::TrainableUsers(world_->dataset);
    return data::BuildTrainingBatch(
        world_->dataset, world_->catalogue, hard_samples,
        MakeBatchOptions(SmallTraining(), model_, world_->backbone.config), 0,
        absl::MakeConstSpan(users).subspan(first, count));
  }
  // The same steps plain with the tables in the process, and in segments with servers.
  void Check(const StepOptions& options) {
    const ps::Cluster cluster(2);
    const auto session = cluster.Open();
    const auto plain = State(), served = State({session.get(), {}});
    StepOptions plain_options = options;
    plain_options.padding = StepPadding::kNever;
    TrainStep step(plain_options, plain.get());
    served->projection().PrepareTraining(nullptr);
    DenseOptimizer optimizer(options.optimizer, &served->parameters());
    StepClock clock(nullptr, served.get());
    SegmentedStep segments({options, served.get(), &optimizer}, nullptr, &clock);
    constexpr int kSteps = 8;
    std::vector<data::PackedBatch> batches;
    for (size_t k = 0; k < kSteps; ++k) batches.push_back(Batch(3 * k, 2 + k % 2));
    for (int k = 0; k < kSteps; ++k) {
      SCOPED_TRACE(k);
      segments.set_capture(k != 5);  // as a profile does
      const model::Losses want = *step.Run(batches[k], k, 3e-3);
      StepVotes votes;
      served->set_step(k);
      clock.Start();
      const auto have =
          segments.Run({&batches[k], k, 3e-3, k == 3 ? nullptr : &Next(batches, k)}, &votes);
      ASSERT_TRUE(have.ok()) << have.status();
      EXPECT_NEAR(have->sequence, want.sequence, 1e-3);
      EXPECT_NEAR(have->alignment, want.alignment, 1e-3);
      EXPECT_NEAR(have->contrastive, want.contrastive, 1e-3);
      EXPECT_NEAR(have->cf, want.cf, 1e-3);
      EXPECT_NEAR(have->total, want.total, 1e-3);
    }
    EXPECT_LT(segments.shapes(), kSteps) << "shapes should serve several batches";
    EXPECT_EQ(segments.captured() > 0, GetParam() == at::kCUDA);
    EXPECT_GT(clock.times().server, 0);
    EXPECT_TRUE(served->Settle().ok());
    for (const data::PackedBatch& batch : batches) {
      const auto want = plain->PullRows(batch), have = served->PullRows(batch);
      ASSERT_TRUE(want.ok() && have.ok()) << have.status();
      ExpectClose(want->user, have->user);
      ExpectClose(want->item, have->item);
    }
  }
  // AdamW makes steps of full length of gradients that are hardly more than rounding.
  static void ExpectClose(const at::Tensor& want, const at::Tensor& have) {
    EXPECT_LE((want - have).norm().item<double>(), 2e-2 * want.norm().item<double>());
  }
  static const data::PackedBatch& Next(const std::vector<data::PackedBatch>& batches, int k) {
    return batches[std::min(static_cast<size_t>(k) + 1, batches.size() - 1)];
  }

  model::ModelOptions model_ = SmallModel();
  std::unique_ptr<World> world_;
};

TEST_P(SegmentedStepTest, WithServersLearnsWhatPlainStepsLearn) { Check({}); }
TEST_P(SegmentedStepTest, WithDropoutAndClipping) {
  model_.dropout = 0.2;
  StepOptions options;
  options.dropout_seed = 5;
  options.clip_norm = 0.05;
  Check(options);
}

TEST_P(SegmentedStepTest, ALossThatIsNotFiniteChangesNothing) {
  const ps::Cluster cluster(1);
  const auto session = cluster.Open();
  const auto state = State({session.get(), {}});
  state->Tensor("damoe.0.causal.down.weight").fill_(std::nan(""));
  state->Refresh();
  const data::PackedBatch batch = Batch(0, 3);
  const at::Tensor dense = state->parameters().value("seq_token").clone();
  const at::Tensor row = state->PullRows(batch)->item.clone();
  StepOptions options;
  options.padding = StepPadding::kAlways;
  TrainStep step(options, state.get());
  for (int k = 0; k < 3; ++k) EXPECT_FALSE(std::isfinite(step.Run(batch, 0, 1e-2)->total));
  EXPECT_EQ(state->step(), 0);
  EXPECT_TRUE(at::equal(dense, state->parameters().value("seq_token")));
  EXPECT_TRUE(at::equal(row, state->PullRows(batch)->item));
}

// With a group, and the tables in the process.
TEST(SegmentedStep, ALossThatIsNotFiniteChangesNothing) {
  const World world(TestFolder());
  const auto state = InitialisedState(world);
  state->Tensor("item_proj.bias").fill_(std::nan(""));
  std::vector<at::Tensor> before;
  for (const auto& [name, tensor] : state->Trainable()) before.push_back(tensor.clone());
  const data::UniformNonCooccurring hard_samples(world.dataset);
  const std::vector<int32_t> users = data::TrainableUsers(world.dataset);
  const data::PackedBatch batch = data::BuildSharedBatch(
      world.dataset, world.catalogue, hard_samples,
      MakeBatchOptions(SmallTraining(), state->options(), world.backbone.config), 0,
      absl::MakeConstSpan(users).first(3), {0, 1});
  collective::LocalWorld group_world(1);
  StepOptions options;
  options.group = group_world.group(0);
  options.padding = StepPadding::kAlways;
  TrainStep step(options, state.get());
  for (int k = 0; k < 3; ++k) EXPECT_FALSE(std::isfinite(step.Run(batch, k, 1e-2)->total));
  const model::NamedTensors after = state->Trainable();
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_TRUE(before[i].equal(after[i].second) || after[i].first == "item_proj.bias")
        << after[i].first;
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, SegmentedStepTest, testing::Values(at::kCPU, at::kCUDA));

}  // namespace
}  // namespace mixrec::worker
