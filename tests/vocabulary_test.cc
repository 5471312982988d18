#include "ps/vocabulary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <vector>

#include "ps/combine.h"
#include "ps/row_optimizer.h"
#include "tensor/optimizer.h"
#include "tensor/softmax.h"

namespace mixrec::ps {
namespace {

constexpr int64_t kRows = 1000, kWidth = 24, kStates = 40;

TableSpec Spec(bool dense, int64_t rows = kRows) {
  TableSpec spec;
  spec.name = "item_proj";
  spec.rows = rows;
  spec.parts = {{"item_proj.weight", kWidth, 0.3}, {"item_proj.bias", 1, 0.3}};
  spec.partition = Partition::kRanges;
  spec.dense = dense;
  spec.seed = 11;
  return spec;
}

using Split = std::vector<BucketRange>;

Split Even(int64_t shards) {
  Split split;
  for (int64_t s = 0; s < shards; ++s) split.push_back(EvenBuckets(s, shards));
  return split;
}

const std::vector<Split>& Splits() {
  static const auto* splits = new std::vector<Split>{
      Even(1),
      Even(2),
      Even(3),
      Even(7),
      {{0, 3}, {3, 4000}, {4000, 4096}},
      {{0, 0}, {0, 2}, {2, 4096}, {4096, 4096}},  // shards without rows
  };
  return *splits;
}

// Shards of a vocabulary and their worker, without a network.
struct Shards {
  Shards(const TableSpec& spec, const Split& split, const VocabularyOptions& options = {}) {
    for (const BucketRange& buckets : split) {
      tables.push_back(std::make_unique<Table>(spec, buckets, at::kCPU));
      vocabularies.push_back(std::make_unique<Vocabulary>(tables.back().get(), options));
    }
  }

  SoftmaxResult Softmax(const at::Tensor& states, const std::vector<int32_t>& labels,
                        const Sampling& sampling = {}, int64_t step = 0, int64_t kept = 0) {
    std::vector<ShardSoftmax> parts;
    batches.clear();
    for (const auto& vocabulary : vocabularies) {
      batches.push_back(vocabulary->MakeBatch(states, labels.data()));
      parts.push_back(vocabulary->Forward(sampling, step, kept, &batches.back()));
    }
    const auto result = CombineSoftmax(parts);
    EXPECT_TRUE(result.ok()) << result.status();
    return *result;
  }

  void Backward(const SoftmaxResult& result, const at::Tensor& weights,
                const Sampling& sampling = {}, int64_t step = 0) {
    for (size_t s = 0; s < vocabularies.size(); ++s) {
      vocabularies[s]->Backward(sampling, step, batches[s], result.log_sum_exp, weights);
    }
  }
  void Step(double learning_rate) {
    for (const auto& vocabulary : vocabularies) vocabulary->ApplyStep(learning_rate);
  }
  at::Tensor Values(size_t part) const {
    std::vector<at::Tensor> values;
    for (const auto& table : tables) values.push_back(table->PartValues(part));
    return at::cat(values);
  }

  std::vector<std::unique_ptr<Table>> tables;
  std::vector<std::unique_ptr<Vocabulary>> vocabularies;
  std::vector<SoftmaxBatch> batches;
};

struct Batch {
  at::Tensor states, weights, label_tensor;
  std::vector<int32_t> labels;
};

Batch MakeBatch(uint64_t seed, int64_t states = kStates, int64_t rows = kRows) {
  at::manual_seed(seed);
  Batch batch{
      at::randn({states, kWidth}), at::rand({states}), at::randint(rows, {states}, at::kLong), {}};
  for (int64_t n = 0; n < states; ++n) {
    batch.labels.push_back(static_cast<int32_t>(batch.label_tensor[n].item<int64_t>()));
  }
  return batch;
}

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

TEST(Proposals, AreTheSameWhoeverAsksAndDifferFromStepToStep) {
  const TableSpec spec = Spec(false);
  for (const bool log_uniform : {false, true}) {
    const Sampling sampling{200, log_uniform};
    const Proposals all = DrawProposals(spec, sampling, 4, 0, kRows);
    const Proposals low = DrawProposals(spec, sampling, 4, 0, 300);
    const Proposals high = DrawProposals(spec, sampling, 4, 300, kRows - 300);
    std::vector<int64_t> rows = low.rows;
    rows.insert(rows.end(), high.rows.begin(), high.rows.end());
    EXPECT_EQ(rows, all.rows);
    EXPECT_NE(DrawProposals(spec, sampling, 5, 0, kRows).rows, all.rows);
  }
}

TEST(Proposals, ARowIsSeenAsOftenAsItsCorrectionSays) {
  const TableSpec spec = Spec(false, 20);
  for (const bool log_uniform : {false, true}) {
    std::vector<double> seen(20, 0), expected(20, 0);
    for (int64_t step = 0; step < 4000; ++step) {
      const Proposals proposals = DrawProposals(spec, {12, log_uniform}, step, 0, 20);
      for (size_t i = 0; i < proposals.rows.size(); ++i) {
        const auto row = static_cast<size_t>(proposals.rows[i]);
        seen[row] += 1.0 / 4000;
        expected[row] = std::exp(proposals.log_expected[i]);
      }
    }
    for (size_t row = 0; row < 20; ++row) EXPECT_NEAR(seen[row], expected[row], 0.035) << row;
  }
}

TEST(SampledSoftmax, DoesNotDependOnTheNumberOfShards) {
  const TableSpec spec = Spec(false);
  const Sampling sampling{150, true};
  const Batch batch = MakeBatch(10);
  Shards one(spec, Even(1));
  const SoftmaxResult expected = one.Softmax(batch.states, batch.labels, sampling, 2);
  one.Backward(expected, batch.weights, sampling, 2);
  one.Step(1e-2);
  for (const Split& split : Splits()) {
    Shards shards(spec, split);
    const SoftmaxResult result = shards.Softmax(batch.states, batch.labels, sampling, 2);
    EXPECT_TRUE(at::allclose(result.entropies, expected.entropies, 1e-5, 1e-5));
    EXPECT_TRUE(at::allclose(result.gradient, expected.gradient, 1e-4, 1e-5));
    shards.Backward(result, batch.weights, sampling, 2);
    shards.Step(1e-2);
    EXPECT_LT((shards.Values(0) - one.Values(0)).abs().mean().item<double>(), 1e-5);
  }
}

TEST(SampledSoftmax, WithEveryRowSeenIsTheExactOne) {
  const TableSpec spec = Spec(false, 30);
  const Batch batch = MakeBatch(11, 20, 30);
  Shards sampled(spec, Even(3)), exact(Spec(true, 30), Even(3));
  const SoftmaxResult a = sampled.Softmax(batch.states, batch.labels, {2000, false}, 0);
  const SoftmaxResult b = exact.Softmax(batch.states, batch.labels);
  EXPECT_TRUE(at::allclose(a.entropies, b.entropies, 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(a.gradient, b.gradient, 1e-4, 1e-5));
}

TEST(SampledSoftmax, ItsSumOverTheVocabularyIsRightOnAverage) {
  const Batch batch = MakeBatch(12);
  Shards sampled(Spec(false), Even(2)), exact(Spec(true), Even(2));
  const at::Tensor expected = exact.Softmax(batch.states, batch.labels).log_sum_exp.exp();
  at::Tensor sum = at::zeros({kStates});
  for (int64_t step = 0; step < 400; ++step) {
    sum += sampled.Softmax(batch.states, batch.labels, {200, false}, step).log_sum_exp.exp();
  }
  EXPECT_LT((sum / 400 / expected - 1).abs().mean().item<double>(), 0.15);
  EXPECT_NEAR((sum / 400 / expected).mean().item<double>(), 1.0, 0.1);
}

TEST(SampledSoftmax, MovesProposalsAndLabelsOnly) {
  const TableSpec spec = Spec(false);
  const Sampling sampling{100, false};
  const Batch batch = MakeBatch(13);
  Shards shards(spec, Even(2));
  const at::Tensor before = shards.Values(0).clone();
  shards.Backward(shards.Softmax(batch.states, batch.labels, sampling, 1), batch.weights, sampling,
                  1);
  shards.Step(1e-2);
  std::vector<bool> expected(kRows, false);
  for (const int64_t row : DrawProposals(spec, sampling, 1, 0, kRows).rows) expected[row] = true;
  for (const int32_t label : batch.labels) expected[static_cast<size_t>(label)] = true;
  const at::Tensor moved = shards.Values(0).ne(before).any(1);
  for (int64_t row = 0; row < kRows; ++row) {
    EXPECT_EQ(moved[row].item<bool>(), expected[static_cast<size_t>(row)]) << row;
  }
}

TEST(CheckSoftmax, RefusesTablesMadeForAnotherSoftmax) {
  EXPECT_TRUE(CheckSoftmax(Spec(true), {}).ok());
  EXPECT_TRUE(CheckSoftmax(Spec(false), {10, true}).ok());
  EXPECT_FALSE(CheckSoftmax(Spec(true), {10, true}).ok());
  EXPECT_FALSE(CheckSoftmax(Spec(false), {}).ok());
  TableSpec hashed = Spec(true);
  hashed.partition = Partition::kHashed;
  EXPECT_FALSE(CheckSoftmax(hashed, {}).ok());
}

// Rows 100 and 900 get the weights and bias of row 500: ties between shards.
void MakeTies(Shards* shards) {
  for (const auto& table : shards->tables) {
    for (const int64_t row : {100, 500, 900}) {
      const int64_t local = table->layout().LocalOf(row);
      if (local < 0) continue;
      table->PartValues(0)[local].fill_(0.25f);
      table->PartValues(1)[local].fill_(1.0f);
    }
  }
}

Exclusions Excluded(int64_t states) {
  Exclusions excluded;
  excluded.offsets.push_back(0);
  for (int64_t n = 0; n < states; ++n) {
    for (int64_t i = 0; i < n % 4; ++i) {
      excluded.ids.push_back(static_cast<int32_t>((n * 37 + i * 211) % kRows));
      excluded.ids.push_back(excluded.ids.back());  // twice counts once
    }
    excluded.offsets.push_back(static_cast<int32_t>(excluded.ids.size()));
  }
  return excluded;
}

at::Tensor Mask(const Exclusions& excluded, int64_t states) {
  at::Tensor mask = at::zeros({states, kRows}, at::kBool);
  for (int64_t n = 0; n < states; ++n) {
    for (int32_t i = excluded.offsets[n]; i < excluded.offsets[n + 1]; ++i) {
      mask[n][excluded.ids[i]].fill_(true);
    }
  }
  return mask;
}

TEST(Vocabulary, RanksEqualTheLocalOnesWithTiesAndExclusions) {
  Batch batch = MakeBatch(14);
  for (const int32_t n : {0, 1, 2}) {
    batch.labels[n] = 100 + 400 * n;
    batch.label_tensor[n] = batch.labels[n];
  }
  batch.states[1] = batch.states[0];
  batch.states[2] = batch.states[0];
  for (const bool dense : {true, false}) {
    for (const Split& split : Splits()) {
      Shards shards(Spec(dense), split, {kStates * 32});
      MakeTies(&shards);
      const at::Tensor all =
          tensor::ItemScores(batch.states, shards.Values(0), shards.Values(1).squeeze(1));
      for (const bool exclude : {false, true}) {
        const Exclusions excluded = exclude ? Excluded(kStates) : Exclusions{};
        at::Tensor targets = at::full({kStates}, -std::numeric_limits<float>::infinity());
        for (const auto& vocabulary : shards.vocabularies) {
          const at::Tensor some = vocabulary->TargetScores(batch.states, batch.labels);
          targets = at::where(some.isnan(), targets, some);
        }
        at::Tensor ranks = at::ones({kStates}, at::kLong);
        for (const auto& vocabulary : shards.vocabularies) {
          ranks += vocabulary->CountAhead(batch.states, batch.labels, targets, excluded);
        }
        const at::Tensor mask = exclude ? Mask(excluded, kStates) : at::Tensor();
        EXPECT_TRUE(at::equal(ranks, tensor::RankOfTargets(all, batch.label_tensor, mask)));
      }
    }
  }
}

TEST(Vocabulary, NotANumberNeverHelpsTheTarget) {
  Shards shards(Spec(true), Even(1));
  shards.tables[0]->PartValues(1)[7].fill_(std::numeric_limits<float>::quiet_NaN());
  const Vocabulary& vocabulary = *shards.vocabularies[0];
  const at::Tensor states = at::randn({2, kWidth});
  const at::Tensor scores = vocabulary.TargetScores(states, {7, 8});
  EXPECT_TRUE(std::isinf(scores[0].item<float>()));
  const at::Tensor ahead = vocabulary.CountAhead(states, {7, 8}, scores, {});
  EXPECT_EQ(ahead[0].item<int32_t>(), kRows - 1);
}

TEST(Vocabulary, TheBestRowsEqualTheLocalOnesWithTiesAndExclusions) {
  const Batch batch = MakeBatch(15);
  for (const Split& split : Splits()) {
    Shards shards(Spec(true), split, {kStates * 32});
    MakeTies(&shards);
    const at::Tensor all =
        tensor::ItemScores(batch.states, shards.Values(0), shards.Values(1).squeeze(1));
    for (const bool exclude : {false, true}) {
      const Exclusions excluded = exclude ? Excluded(kStates) : Exclusions{};
      std::vector<std::pair<at::Tensor, at::Tensor>> lists;
      for (const auto& vocabulary : shards.vocabularies) {
        lists.push_back(vocabulary->TopK(batch.states, 12, excluded));
      }
      const TopKResult best = MergeTopK(lists, 12);
      at::Tensor left = all.clone();
      if (exclude) left.masked_fill_(Mask(excluded, kStates), -1e30f);
      const auto [ids, scores] = tensor::TopK(left, 12);
      EXPECT_TRUE(at::equal(best.ids.to(at::kLong), ids));
      EXPECT_TRUE(at::allclose(best.scores, scores, 1e-5, 1e-6));
    }
  }
}

TEST(Vocabulary, ListsEndEarlyWhereFewRowsAreLeft) {
  Shards shards(Spec(true, 5), Even(2));
  const Exclusions excluded{{0, 2}, {1, 3}};
  std::vector<std::pair<at::Tensor, at::Tensor>> lists;
  for (const auto& vocabulary : shards.vocabularies) {
    lists.push_back(vocabulary->TopK(at::randn({1, kWidth}), 9, excluded));
  }
  const TopKResult best = MergeTopK(lists, 9);
  EXPECT_EQ(best.ids.ge(0).sum().item<int64_t>(), 3);
  EXPECT_EQ(best.ids[0][3].item<int32_t>(), -1);
  EXPECT_TRUE(std::isinf(best.scores[0][3].item<float>()));
}

}  // namespace
}  // namespace mixrec::ps
