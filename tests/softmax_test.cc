#include "tensor/softmax.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace mixrec::tensor {
namespace {

TEST(SoftmaxCrossEntropy, LossAndGradientsEqualTheDenseFormula) {
  at::manual_seed(3);
  const int64_t rows = 300, width = 24, items = 40000;  // several chunks
  const at::Tensor states = at::randn({rows, width}), weight = at::randn({items, width}) * 0.1;
  const at::Tensor bias = at::randn({items}), labels = at::randint(items, {rows}, at::kLong);
  const at::Tensor weights = at::rand({rows});
  at::Tensor d_states, d_weight = at::ones({items, width}), d_bias = at::ones({items});
  const at::Tensor loss =
      SoftmaxCrossEntropy(states, weight, bias, labels, weights, &d_states, d_weight, d_bias);

  const at::Tensor log_p = at::addmm(bias, states, weight.t()).log_softmax(1);
  EXPECT_TRUE(at::allclose(loss, -log_p.gather(1, labels.unsqueeze(1)).squeeze(1), 1e-4, 1e-5));
  const at::Tensor onehot = at::zeros({rows, items}).scatter_(1, labels.unsqueeze(1), 1.0);
  const at::Tensor d_logits = (log_p.exp() - onehot) * weights.unsqueeze(1);
  EXPECT_TRUE(at::allclose(d_states, at::mm(d_logits, weight), 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(d_weight - 1.0, at::mm(d_logits.t(), states), 1e-3, 1e-5));
  EXPECT_TRUE(at::allclose(d_bias - 1.0, d_logits.sum(0), 1e-3, 1e-5));
}

TEST(SoftmaxCrossEntropy, HugeLogitsStayFinite) {
  const at::Tensor states = at::full({1, 1}, 1e4), weight = at::tensor({1.0f, -1.0f}).view({2, 1});
  const at::Tensor loss =
      SoftmaxCrossEntropy(states, weight, at::zeros({2}), at::tensor({1}, at::kLong), at::ones({1}),
                          nullptr, at::Tensor(), at::Tensor());
  EXPECT_NEAR(loss.item<double>(), 2e4, 1.0);
}

TEST(RankOfTargets, CountsBetterItemsAndTiesWithSmallerIndex) {
  const at::Tensor scores = at::tensor({1.0f, 3.0f, 2.0f, 2.0f, 2.0f}).expand({5, 5});
  const at::Tensor ranks =
      RankOfTargets(scores, at::tensor({0, 1, 2, 3, 4}, at::kLong), at::Tensor());
  EXPECT_TRUE(at::equal(ranks, at::tensor({5, 1, 2, 3, 4}, at::kLong)));
}

TEST(RankOfTargets, ExcludedItemsDoNotCountUnlessTheyAreTheTarget) {
  const at::Tensor scores = at::tensor({3.0f, 2.0f, 1.0f}).expand({2, 3});
  const at::Tensor exclude = at::tensor({1, 0, 1}, at::kInt).to(at::kBool).expand({2, 3});
  const at::Tensor ranks = RankOfTargets(scores, at::tensor({1, 2}, at::kLong), exclude);
  EXPECT_TRUE(at::equal(ranks, at::tensor({1, 2}, at::kLong)));
}

TEST(RankOfTargets, NotANumberNeverHelpsTheTarget) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor scores = at::tensor({1.0f, nan, 0.5f}).expand({2, 3});
  const at::Tensor ranks = RankOfTargets(scores, at::tensor({0, 1}, at::kLong), at::Tensor());
  EXPECT_TRUE(at::equal(ranks, at::tensor({2, 3}, at::kLong)));
}

TEST(TopK, IsSortedWithTiesBySmallerIndex) {
  const at::Tensor scores = at::tensor({1.0f, 5.0f, 5.0f, 0.0f, 5.0f}).view({1, 5});
  const auto [indices, values] = TopK(scores, 4);
  EXPECT_TRUE(at::equal(indices, at::tensor({1, 2, 4, 0}, at::kLong).view({1, 4})));
  EXPECT_TRUE(at::equal(values, at::tensor({5.0f, 5.0f, 5.0f, 1.0f}).view({1, 4})));
  EXPECT_EQ(TopK(scores, 9).first.size(1), 5);
}

}  // namespace
}  // namespace mixrec::tensor
