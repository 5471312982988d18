// Properties of the model on a random tiny backbone: the backward pass is the forward pass's
// derivative, batches do not mix, dropout is keyed, reading fewer rows changes nothing.
#include <gtest/gtest.h>

#include "model/backbone_create.h"
#include "model/mixrec_model.h"

namespace mixrec::model {
namespace {

constexpr int32_t kVocabulary = 50;
constexpr int64_t kItems = 12;

OptConfig TinyConfig(bool pre_norm) {
  OptConfig config;
  config.vocab_size = kVocabulary;
  config.hidden = config.word_width = 32;
  config.layers = 2;
  config.heads = 2;
  config.ffn = 64;
  config.max_positions = 128;
  config.pre_layer_norm = config.final_layer_norm = pre_norm;
  return config;
}

// Sequences of items with `tokens_per_item` tokens, then alignment documents behind a prompt.
data::PackedBatch MakeBatch(const std::vector<std::pair<int32_t, std::vector<int32_t>>>& sequences,
                            const std::vector<int32_t>& aligned) {
  data::PackedBatch batch;
  const auto row = [&] { return static_cast<int32_t>(batch.tokens.size()); };
  const auto add_item = [&](int32_t item, int32_t end_token, int32_t user, int32_t position) {
    const int32_t begin = row();
    for (int32_t t = 0; t < 2 + item % 4; ++t) {
      batch.tokens.push_back((7 * item + 3 * t) % kVocabulary);
      batch.positions.push_back(position++);
    }
    batch.tokens.push_back(end_token);
    batch.positions.push_back(position++);
    batch.groups.push_back({begin, row(), user, item});
    return position;
  };
  for (int32_t item = 0; item < kItems; ++item) batch.item_ids.push_back(item);
  batch.item_columns = kItems;
  if (!aligned.empty()) {
    batch.prompt_tokens = 3;
    batch.tokens = {1, 2, 3};
    batch.positions = {0, 1, 2};
    batch.documents.push_back({0, 3, data::DocumentKind::kPrompt, 0});
    batch.groups.push_back({0, 3, -1, -1});
  }
  for (const auto& [user, items] : sequences) {
    const int32_t begin = row();
    batch.user_ids.push_back(user);
    int32_t position = 0;
    for (int32_t item : items) {
      position =
          add_item(item, kVocabulary, static_cast<int32_t>(batch.user_ids.size()) - 1, position);
      batch.sequence_rows.push_back(row() - 1);
    }
    batch.documents.push_back({begin, row(), data::DocumentKind::kSequence, user});
  }
  batch.user_columns = static_cast<int32_t>(batch.user_ids.size());
  for (int32_t item : aligned) {
    const int32_t begin = row();
    add_item(item, kVocabulary + 1, -1, batch.prompt_tokens);
    batch.alignment_rows.push_back(row() - 1);
    batch.documents.push_back({begin, row(), data::DocumentKind::kAlignment, item});
  }
  return batch;
}

class Fixture {
 public:
  explicit Fixture(ModelOptions options, bool pre_norm = true)
      : backbone_(*RandomBackbone(TinyConfig(pre_norm), 5, at::kFloat)),
        options_(Validated(options)),
        parameters_(TrainableSpecs(backbone_.config, options_, kItems), at::kCPU, at::kFloat),
        model_(backbone_, options_, &parameters_) {
    at::manual_seed(11);
    for (const ParameterSpec& spec : parameters_.specs()) {
      parameters_.value(spec.name).normal_(0.0, 0.2);
    }
    users_ = at::randn({8, options_.cf_width()}) * 0.3;
    items_ = at::randn({kItems, options_.cf_width()}) * 0.3;
  }
  CfRows Rows(const data::PackedBatch& batch) const {
    CfRows rows;
    if (!options_.has_cf()) return rows;
    rows.user = users_.index_select(
        0, at::tensor(at::ArrayRef<int32_t>(batch.user_ids), at::kInt).to(at::kLong));
    rows.item = items_;
    return rows;
  }
  States Forward(const data::PackedBatch& batch, bool training = false, DropoutKey key = {}) {
    return model_.Forward(batch, Rows(batch), training, key);
  }
  ModelOptions Validated(ModelOptions options) const {
    EXPECT_TRUE(ValidateModelOptions(backbone_.config.layers, &options).ok());
    return options;
  }
  DenseParameters& parameters() { return parameters_; }
  MixrecModel& model() { return model_; }
  at::Tensor& items() { return items_; }

 private:
  Backbone backbone_;
  ModelOptions options_;
  DenseParameters parameters_;
  MixrecModel model_;
  at::Tensor users_, items_;
};

ModelOptions Options(Mode mode = Mode::kMixrec) {
  ModelOptions options;
  options.mode = mode;
  options.bottleneck = 8;
  options.cf_gmf = options.cf_mlp = 4;
  options.cf_hidden = {8};
  options.inject_user = options.inject_item = true;
  if (options.has_damoe()) options.architecture = "010101";
  return options;
}

const std::vector<std::pair<int32_t, std::vector<int32_t>>> kSequences = {
    {0, {1, 2, 3}}, {3, {4}}, {5, {6, 7, 1, 9, 11}}};

// d (random projection of the states) along a random direction of the parameters, both ways.
void ExpectDerivative(Fixture* fixture, const data::PackedBatch& batch, DropoutKey key) {
  at::manual_seed(23);
  const States states = fixture->Forward(batch, true, key);
  const States probe{at::randn_like(states.sequence), at::randn_like(states.alignment)};
  fixture->parameters().ZeroGradient();
  const CfRows d_rows =
      fixture->model().Backward({probe.sequence.clone(), probe.alignment.clone()});
  const auto value = [&] {
    const States s = fixture->Forward(batch, true, key);
    return (s.sequence * probe.sequence).sum().item<double>() +
           (s.alignment * probe.alignment).sum().item<double>();
  };
  at::Tensor flat = fixture->parameters().flat_value();
  const at::Tensor direction = at::randn_like(flat) * 0.05;
  const at::Tensor start = flat.clone();
  constexpr double kStep = 1e-2;
  const auto along = [&](double t) {
    flat.copy_(start + t * direction);
    const double result = value();
    flat.copy_(start);
    return result;
  };
  // Fourth order, so that the step can be large in fp32.
  const double numeric =
      (8.0 * (along(kStep) - along(-kStep)) - along(2 * kStep) + along(-2 * kStep)) /
      (12.0 * kStep);
  const double analytic = (fixture->parameters().flat_gradient() * direction).sum().item<double>();
  EXPECT_NEAR(numeric, analytic, 2e-3 * std::max(1.0, std::abs(analytic)));
  if (!d_rows.item.defined()) return;
  const at::Tensor d_items = at::randn_like(fixture->items());
  const at::Tensor items = fixture->items().clone();
  fixture->items() = items + kStep * d_items;
  const double up = value();
  fixture->items() = items - kStep * d_items;
  const double down = value();
  fixture->items() = items;
  const double item_analytic = (d_rows.item * d_items).sum().item<double>();
  EXPECT_NEAR((up - down) / (2 * kStep), item_analytic,
              5e-3 * std::max(1.0, std::abs(item_analytic)));
}

TEST(MixrecModel, BackwardIsTheDerivativeOfForwardInEveryMode) {
  const data::PackedBatch batch = MakeBatch(kSequences, {2, 5, 8});
  for (Mode mode : {Mode::kMixrec, Mode::kBase, Mode::kLlmrec, Mode::kMoe}) {
    for (bool pre_norm : {true, false}) {
      SCOPED_TRACE(ModeName(mode) + (pre_norm ? " pre-LN" : " post-LN"));
      Fixture fixture(Options(mode), pre_norm);
      ExpectDerivative(&fixture, batch, {});
    }
  }
}

TEST(MixrecModel, BackwardUsesTheDropoutMaskOfForward) {
  ModelOptions options = Options();
  options.dropout = 0.3;
  options.adapter_activation = AdapterActivation::kGelu;
  Fixture fixture(options);
  ExpectDerivative(&fixture, MakeBatch(kSequences, {2, 5}), {9, 4});
}

TEST(MixrecModel, ReplacingEverySecondLayerDifferentiatesToo) {
  ModelOptions options = Options();
  options.replace_every = 2;
  options.architecture = "110";
  Fixture fixture(options);
  ExpectDerivative(&fixture, MakeBatch(kSequences, {2, 5}), {});
}

TEST(MixrecModel, ScaledParallelAdaptersDifferentiateToo) {
  ModelOptions options = Options();
  options.architecture = "101011";
  options.parallel_form = ParallelForm::kScaled;
  options.parallel_scale = 2.5;
  options.adapter_activation = AdapterActivation::kGelu;
  options.dropout = 0.2;
  for (bool pre_norm : {true, false}) {
    Fixture fixture(options, pre_norm);
    ExpectDerivative(&fixture, MakeBatch(kSequences, {2, 5}), {9, 4});
  }
}

TEST(MixrecModel, ScaledParallelAdaptersStartAtTheBackboneAndLiteralOnesDoNot) {
  ModelOptions options = Options(Mode::kMoe);
  options.architecture = "111111";
  Fixture literal(options), plain(Options(Mode::kLlmrec));
  options.parallel_form = ParallelForm::kScaled;
  Fixture scaled(options);
  const data::PackedBatch batch = MakeBatch(kSequences, {2});
  const at::Tensor backbone = plain.Forward(batch).sequence;
  for (Fixture* fixture : {&literal, &scaled}) {
    fixture->parameters().Initialise(1);  // W2 = 0
    for (const char* name : {"seq_token", "align_token"}) {
      fixture->parameters().value(name).copy_(plain.parameters().value(name));
    }
  }
  EXPECT_TRUE(at::allclose(scaled.Forward(batch).sequence, backbone, 1e-4, 1e-5));
  EXPECT_FALSE(at::allclose(literal.Forward(batch).sequence, backbone, 1e-1, 1e-1));
}

TEST(MixrecModel, ASequenceDoesNotDependOnItsNeighboursInTheBatch) {
  ModelOptions options = Options();
  options.dropout = 0.4;
  Fixture fixture(options);
  const States together = fixture.Forward(MakeBatch(kSequences, {2, 5}), true, {1, 7});
  const States alone = fixture.Forward(MakeBatch({kSequences[2]}, {5}), true, {1, 7});
  EXPECT_TRUE(at::allclose(together.sequence.narrow(0, 4, 5), alone.sequence, 1e-5, 1e-5));
  EXPECT_TRUE(at::allclose(together.alignment[1], alone.alignment[0], 1e-5, 1e-5));
}

TEST(MixrecModel, DropoutDependsOnSeedAndStepAndIsOffInEvaluation) {
  ModelOptions options = Options();
  options.dropout = 0.4;
  Fixture fixture(options);
  const data::PackedBatch batch = MakeBatch(kSequences, {});
  const at::Tensor first = fixture.Forward(batch, true, {1, 7}).sequence;
  EXPECT_TRUE(at::equal(first, fixture.Forward(batch, true, {1, 7}).sequence));
  EXPECT_FALSE(at::allclose(first, fixture.Forward(batch, true, {1, 8}).sequence));
  EXPECT_FALSE(at::allclose(first, fixture.Forward(batch, true, {2, 7}).sequence));
  EXPECT_TRUE(at::equal(fixture.Forward(batch).sequence, fixture.Forward(batch).sequence));
}

TEST(MixrecModel, AnItemDoesNotSeeItsFutureNorOtherItemsColumns) {
  Fixture fixture(Options());
  const at::Tensor before = fixture.Forward(MakeBatch({{0, {1, 2, 3}}}, {})).sequence;
  // Other future items, and another item's collaborative row: the first states stay.
  const at::Tensor future = fixture.Forward(MakeBatch({{0, {1, 2, 9}}}, {})).sequence;
  fixture.items()[3].mul_(-2.0);
  const at::Tensor column = fixture.Forward(MakeBatch({{0, {1, 2, 3}}}, {})).sequence;
  for (int64_t row : {0, 1}) {
    EXPECT_TRUE(at::allclose(before[row], future[row], 1e-5, 1e-6));
    EXPECT_TRUE(at::allclose(before[row], column[row], 1e-5, 1e-6));
  }
  EXPECT_FALSE(at::allclose(before[2], column[2], 1e-4, 1e-4));
}

TEST(MixrecModel, ASerialModelStartsAtTheBackboneButForTheGate) {
  // With W2 = 0 and one mask for both experts the adapters change nothing: OPT's own states.
  ModelOptions options = Options(Mode::kMoe);
  options.architecture = "000000";
  Fixture adapted(options), plain(Options(Mode::kLlmrec));
  adapted.parameters().Initialise(1);
  for (const char* name : {"seq_token", "align_token"}) {
    adapted.parameters().value(name).copy_(plain.parameters().value(name));
  }
  const data::PackedBatch batch = MakeBatch(kSequences, {2});
  EXPECT_TRUE(
      at::allclose(adapted.Forward(batch).sequence, plain.Forward(batch).sequence, 1e-4, 1e-5));
}

}  // namespace
}  // namespace mixrec::model
