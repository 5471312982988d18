// Steps of several candidates together learn what each learns alone.
#include "step_graphs_fixture.h"

namespace mixrec::worker {
namespace {

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

INSTANTIATE_TEST_SUITE_P(Places, SideBySideStepsTest, testing::ValuesIn(kPlaces));

}  // namespace
}  // namespace mixrec::worker
