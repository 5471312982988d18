#include "worker/work.h"

#include <gtest/gtest.h>

namespace mixrec::worker {
namespace {

// Layers of OPT-125M's shape, and a row that is trained and one that is scored; none is read.
WorkInputs OneRow(int64_t layers) {
  WorkInputs inputs;
  inputs.backbone.hidden = 768;
  inputs.backbone.ffn = 3072;
  inputs.backbone.layers = layers;
  inputs.items = 1000;
  inputs.trained.rows = inputs.scored.rows = 1;
  return inputs;
}

// Of the lower of two layers; the last one multiplies only keys and values of rows nobody reads.
WorkEstimate OfLowerLayer(const WorkInputs& inputs) {
  WorkEstimate lower = EstimateWork(inputs);
  lower.frozen -= 2 * 4.0 * 768 * 768 * inputs.trained.rows;
  return lower;
}

// MFLOP of a token and layer, counted by hand: QKV, two output projections, FFN forwards and as
// input gradients; three adapters and a gate, three times.
TEST(WorkTest, TrainedRowsCountWhatTheLayersMultiply) {
  WorkInputs inputs = OneRow(2);
  inputs.scored = {};
  const WorkEstimate layer = OfLowerLayer(inputs);
  EXPECT_NEAR(layer.frozen * 1e-6, 2 * (3.539 + 2.359 + 9.437), 0.01);
  EXPECT_NEAR(layer.adapters * 1e-6, 3 * (0.590 + 0.006), 0.01);
}

TEST(WorkTest, AttentionIsByPairs) {
  WorkInputs inputs = OneRow(2);
  inputs.scored = {};
  inputs.trained.causal = 105;
  inputs.trained.context = 33;
  EXPECT_DOUBLE_EQ(EstimateWork(inputs).attention, 3.0 * 4 * 768 * (105 + 33));
  inputs.options.mode = model::Mode::kBase;
  EXPECT_DOUBLE_EQ(EstimateWork(inputs).attention, 3.0 * 4 * 768 * 105);
}

// Linear serial adapters are folded when a model scores; parallel ones and those with an activation
// are products of their own.
TEST(WorkTest, SerialAdaptersAreFreeWhereTheyAreFolded) {
  WorkInputs inputs = OneRow(2);
  const double adapter = 4.0 * 768 * 64;
  const auto work = [&](const std::string& bits) {
    inputs.options.architecture = bits;
    return EstimateWork(inputs).total();
  };
  EXPECT_DOUBLE_EQ(work("100000") - work("000000"), adapter);
  EXPECT_DOUBLE_EQ(work("111000") - work("000000"), 3 * adapter);
  EXPECT_DOUBLE_EQ(work("000111"), work("000000")) << "no row of the last layer is read";
  inputs.options.adapter_activation = model::AdapterActivation::kRelu;
  EXPECT_DOUBLE_EQ(work("111000"), work("000000"));
}

TEST(WorkTest, BottleneckAndReplacedLayersCount) {
  WorkInputs inputs = OneRow(4);
  inputs.scored = {};
  inputs.trained.read = 1;
  const double adapters = EstimateWork(inputs).adapters;
  inputs.options.bottleneck = 128;
  const double gates = 3.0 * 4 * 8 * 768;
  EXPECT_DOUBLE_EQ(EstimateWork(inputs).adapters - gates, 2 * (adapters - gates));
  inputs.options.bottleneck = 64;
  inputs.options.replace_every = 2;
  EXPECT_DOUBLE_EQ(EstimateWork(inputs).adapters, adapters / 2);
  inputs.options.mode = model::Mode::kLlmrec;
  EXPECT_EQ(EstimateWork(inputs).adapters, 0);
}

TEST(WorkTest, RankedRowsAreComparedWithAllItems) {
  WorkInputs inputs = OneRow(1);
  inputs.trained.ranked = 2;
  inputs.scored.ranked = 5;
  EXPECT_DOUBLE_EQ(EstimateWork(inputs).items, (3 * 2 + 5) * 2.0 * 768 * 1000);
}

}  // namespace
}  // namespace mixrec::worker
