#include "ps/vocabulary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "ps/combine.h"
#include "ps/row_optimizer.h"
#include "tensor/optimizer.h"
#include "tensor/softmax.h"
#include "vocabulary_fixture.h"

namespace mixrec::ps {
namespace {

// What one process computes, with one step of AdamW.
struct Local {
  explicit Local(const TableSpec& spec) {
    const Table table(spec, {}, at::kCPU);
    for (size_t part = 0; part < 2; ++part) values.push_back(table.PartValues(part).clone());
    for (const at::Tensor& value : values) {
      first.push_back(at::zeros_like(value));
      second.push_back(at::zeros_like(value));
    }
    optimizer = AdamWOptionsOf(spec.optimizer);
  }
  at::Tensor bias() const { return values[1].squeeze(1); }
  void Softmax(const Batch& batch) {
    d_weight = at::zeros_like(values[0]);
    d_bias = at::zeros_like(bias());
    entropies = tensor::SoftmaxCrossEntropy(batch.states, values[0], bias(), batch.label_tensor,
                                            batch.weights, &d_states, d_weight, d_bias);
  }
  void Step(int64_t step, double rate) {
    tensor::AdamWStep(optimizer, rate, step, d_weight, values[0], first[0], second[0]);
    tensor::AdamWStep(optimizer, rate, step, d_bias.unsqueeze(1), values[1], first[1], second[1]);
  }

  tensor::AdamWOptions optimizer;
  std::vector<at::Tensor> values, first, second;
  at::Tensor entropies, d_states, d_weight, d_bias;
};

TEST(Vocabulary, LossGradientsAndAStepEqualTheLocalComputationForAnySplit) {
  const TableSpec spec = Spec(true);
  for (const Split& split : Splits()) {
    for (const int64_t block : {int64_t{0}, int64_t{kStates * 16}}) {
      Shards shards(spec, split, {block});
      Local local(spec);
      for (int64_t step = 1; step <= 2; ++step) {
        const Batch batch = MakeBatch(static_cast<uint64_t>(step));
        local.Softmax(batch);
        const SoftmaxResult result = shards.Softmax(batch.states, batch.labels);
        EXPECT_TRUE(at::allclose(result.entropies, local.entropies, 1e-5, 1e-5));
        EXPECT_TRUE(
            at::allclose(result.gradient * batch.weights.unsqueeze(1), local.d_states, 1e-4, 1e-5));
        shards.Backward(result, batch.weights);
        local.Step(step, 1e-2);
        shards.Step(1e-2);
        // A first step is the gradient's sign, so tiny gradients may differ in theirs.
        const at::Tensor error = (shards.Values(0) - local.values[0]).abs();
        EXPECT_LT(error.mean().item<double>(), 1e-5);
        EXPECT_LT((shards.Values(1) - local.values[1]).abs().mean().item<double>(), 1e-5);
      }
    }
  }
}

TEST(Vocabulary, TheTablesGradientEqualsTheLocalOne) {
  TableSpec spec = Spec(true);
  spec.optimizer = {Optimizer::kSgd, 0, 0, 0, 0};  // one step at rate 1 shows the gradient
  const Batch batch = MakeBatch(5);
  for (const Split& split : Splits()) {
    Shards shards(spec, split);
    Local local(spec);
    local.Softmax(batch);
    shards.Backward(shards.Softmax(batch.states, batch.labels), batch.weights);
    shards.Step(1.0);
    EXPECT_TRUE(at::allclose(local.values[0] - shards.Values(0), local.d_weight, 1e-4, 1e-5));
    EXPECT_TRUE(at::allclose(local.bias() - shards.Values(1).squeeze(1), local.d_bias, 1e-4, 1e-5));
  }
}

TEST(Vocabulary, KeptAndRepeatedExponentialsGiveTheSameBits) {
  for (const bool dense : {true, false}) {
    const Sampling sampling{dense ? 0 : 300, false};
    const Batch batch = MakeBatch(6, 1500);  // several chunks of states
    Shards kept(Spec(dense), Even(2), {1 << 18}), again(Spec(dense), Even(2), {1 << 18});
    const SoftmaxResult a = kept.Softmax(batch.states, batch.labels, sampling, 3, 1 << 30);
    const SoftmaxResult b = again.Softmax(batch.states, batch.labels, sampling, 3, 0);
    EXPECT_FALSE(kept.batches[0].kept.blocks.empty());
    EXPECT_TRUE(again.batches[0].kept.blocks.empty());
    kept.Backward(a, batch.weights, sampling, 3);
    again.Backward(b, batch.weights, sampling, 3);
    kept.Step(1e-2);
    again.Step(1e-2);
    EXPECT_TRUE(at::equal(kept.Values(0), again.Values(0)));
    EXPECT_TRUE(at::equal(kept.Values(1), again.Values(1)));
  }
}

TEST(Vocabulary, PiecesOfAStepAddUp) {
  TableSpec spec = Spec(true);
  spec.optimizer = {Optimizer::kSgd, 0, 0, 0, 0};
  const Batch batch = MakeBatch(7);
  Shards whole(spec, Even(2)), pieces(spec, Even(2));
  whole.Backward(whole.Softmax(batch.states, batch.labels), batch.weights);
  whole.Step(1.0);
  for (const auto& [first, count] : std::vector<std::pair<int64_t, int64_t>>{{0, 13}, {13, 27}}) {
    const std::vector<int32_t> labels(batch.labels.begin() + first,
                                      batch.labels.begin() + first + count);
    pieces.Backward(pieces.Softmax(batch.states.narrow(0, first, count), labels),
                    batch.weights.narrow(0, first, count));
  }
  pieces.Step(1.0);
  EXPECT_TRUE(at::allclose(whole.Values(0), pieces.Values(0), 1e-4, 1e-5));
}

TEST(Vocabulary, HugeLogitsStayFiniteAndFarShardsCountNothing) {
  Shards shards(Spec(true), Even(3));
  const Batch batch = MakeBatch(8);
  const SoftmaxResult result = shards.Softmax(batch.states * 1e4, batch.labels);
  EXPECT_TRUE(result.entropies.isfinite().all().item<bool>());
  EXPECT_TRUE(result.gradient.isfinite().all().item<bool>());
}

TEST(Vocabulary, ADivergedStateIsSeenInTheLoss) {
  Shards shards(Spec(true), Even(3));
  Batch batch = MakeBatch(8);
  batch.states[3].fill_(std::numeric_limits<float>::quiet_NaN());
  const SoftmaxResult result = shards.Softmax(batch.states, batch.labels);
  EXPECT_FALSE(std::isfinite(result.entropies[3].item<float>()));
  EXPECT_TRUE(std::isfinite(result.entropies[4].item<float>()));
}

TEST(Vocabulary, APieceWithoutStatesChangesNothing) {
  for (const bool dense : {true, false}) {
    const Sampling sampling{dense ? 0 : 20, false};
    Shards shards(Spec(dense), Even(2)), without(Spec(dense), Even(2));
    const Batch batch = MakeBatch(16);
    const at::Tensor none = at::empty({0, kWidth});
    for (Shards* of : {&shards, &without}) {
      of->Backward(of->Softmax(batch.states, batch.labels, sampling), batch.weights, sampling);
    }
    shards.Backward(shards.Softmax(none, {}, sampling), at::empty({0}), sampling);
    shards.Step(1e-2);
    without.Step(1e-2);
    EXPECT_TRUE(at::equal(shards.Values(0), without.Values(0)));
    EXPECT_EQ(shards.vocabularies[0]->TopK(none, 3, {}).first.size(0), 0);
    EXPECT_EQ(shards.vocabularies[0]->CountAhead(none, {}, at::empty({0}), {}).numel(), 0);
  }
}

TEST(CombineSoftmax, AnswersThatContradictEachOtherAreRefused) {
  Shards shards(Spec(true), Even(2));
  const Batch batch = MakeBatch(9);
  std::vector<ShardSoftmax> parts;
  for (const auto& vocabulary : shards.vocabularies) {
    SoftmaxBatch of = vocabulary->MakeBatch(batch.states, batch.labels.data());
    parts.push_back(vocabulary->Forward({}, 0, 0, &of));
  }
  EXPECT_TRUE(CombineSoftmax(parts).ok());
  EXPECT_FALSE(CombineSoftmax({parts[0]}).ok());                      // labels without owners
  EXPECT_FALSE(CombineSoftmax({parts[0], parts[0], parts[1]}).ok());  // with two
  parts[1].label_rows = parts[1].label_rows.narrow(0, 0, 0);
  EXPECT_FALSE(CombineSoftmax(parts).ok());
}

}  // namespace
}  // namespace mixrec::ps
