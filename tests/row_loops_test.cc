#include <cmath>
#include <vector>

#include "model/dropout_hash.h"
#include "tests/loops_fixture.h"

namespace mixrec::model::cpu {
namespace {

constexpr int64_t kRows = 6, kFirst = 1;  // row 0 is another thread's
constexpr uint64_t kSite = 3;

class RowLoopsTest : public LoopsTest {
 protected:
  at::Tensor Random() const { return Strided(kRows, width()); }
  at::Tensor Vector() const { return at::randn({width()}); }
  static at::Tensor Own(const at::Tensor &all) { return all.narrow(0, kFirst, kRows - kFirst); }

  MaskRows Mask(double probability) const {
    return {keys_.data_ptr<int64_t>(), kSite, DropoutThreshold(probability),
            static_cast<float>(1 / (1 - probability))};
  }
  // What elements are multiplied by, [kRows, width] fp64.
  at::Tensor MaskValues(double probability) const {
    const at::Tensor values = at::zeros({kRows, width()}, at::kDouble);
    for (int64_t row = 0; row < kRows; ++row) {
      const uint32_t seed =
          DropoutRowSeed(static_cast<uint64_t>(keys_[row].item<int64_t>()), kSite);
      for (int64_t c = 0; c < width(); ++c) {
        const bool kept =
            DropoutBits(seed, static_cast<uint32_t>(c)) >= DropoutThreshold(probability);
        if (kept) values[row][c] = 1 / (1 - probability);
      }
    }
    return values;
  }

  std::vector<float> Scratch() const { return std::vector<float>(static_cast<size_t>(width())); }

  const at::Tensor keys_ = at::arange(100, 100 + kRows, at::kLong);
};

TEST_P(RowLoopsTest, ResidualAddsTheMaskedBranch) {
  const at::Tensor raw = Random(), bias = Vector(), extra = Random(), residual = Random();
  const at::Tensor y = at::zeros({kRows, width()});
  for (const bool with_bias : {false, true}) {
    for (const bool with_extra : {false, true}) {
      const ResidualRows rows{width(),
                              {MatrixOf(raw), with_bias ? bias.data_ptr<float>() : nullptr,
                               with_extra ? MatrixOf(extra) : Matrix{nullptr, 0}, 0.5f},
                              Mask(0.25),
                              MatrixOf(residual),
                              MatrixOf(y)};
      loops().rows->residual(rows, kFirst, kRows, Scratch().data());
      at::Tensor value = raw.to(at::kDouble);
      if (with_bias) value = value + bias;
      if (with_extra) value = value + extra;
      ExpectClose(Own(y), Own(residual + MaskValues(0.25) * 0.5 * value), "y");
      EXPECT_EQ(y[0].abs().max().item<float>(), 0);
    }
  }
}

TEST_P(RowLoopsTest, ResidualGradientIsMaskedInPlaceAndSummed) {
  const at::Tensor d_y = Random(), sums = at::ones({width()});
  const at::Tensor expected = MaskValues(0.25) * 0.5 * d_y;
  loops().rows->residual_gradient({width(), Mask(0.25), 0.5f, MatrixOf(d_y), MatrixOf(d_y)}, kFirst,
                                  kRows, sums.data_ptr<float>());
  ExpectClose(Own(d_y), Own(expected), "d raw");
  ExpectClose(sums, 1 + Own(expected).sum(0), "sums");
}

TEST_P(RowLoopsTest, GateAndItsGradientAreThePlainOnes) {
  const at::Tensor raw_q = Random(), raw_p = Random(), residual = Random(), d_y = Random();
  const at::Tensor bias_q = Vector(), difference = at::randn({2 * width()}) * 0.1;
  const at::Tensor y = at::zeros({kRows, width()}), beta = at::zeros({kRows, 2});
  const std::vector<at::Tensor> leaves{Leaf(raw_q), Leaf(raw_p), Leaf(difference),
                                       Leaf(at::full({1}, 0.3))};
  const at::Tensor q = 0.5 * (leaves[0] + bias_q), p = 2.0 * leaves[1];
  const at::Tensor logit = at::mv(at::cat({q, p}, 1), leaves[2]) + leaves[3];
  const at::Tensor beta0 = at::sigmoid(logit).unsqueeze(1);
  const at::Tensor expected = residual + MaskValues(0.25) * (beta0 * q + (1 - beta0) * p);
  Own(expected * d_y).sum().backward();

  const GateRows rows{width(),
                      {MatrixOf(raw_q), bias_q.data_ptr<float>(), {nullptr, 0}, 0.5f},
                      {MatrixOf(raw_p), nullptr, {nullptr, 0}, 2.0f},
                      Mask(0.25),
                      difference.data_ptr<float>(),
                      0.3f,
                      MatrixOf(residual),
                      MatrixOf(y),
                      MatrixOf(beta)};
  loops().rows->gate(rows, kFirst, kRows, Scratch().data());
  ExpectClose(Own(y), Own(expected.detach()), "y");
  ExpectClose(Own(raw_q), Own(q.detach()), "q");
  ExpectClose(Own(beta).select(1, 0), Own(beta0.detach()).squeeze(1), "beta");
  ExpectClose(Own(beta).sum(1), at::ones({kRows - kFirst}), "sum of beta");

  const at::Tensor d_q = at::zeros({kRows, width()}), d_p = at::zeros({kRows, width()});
  const at::Tensor sums = at::ones({4 * width() + 1});
  const GateGradientRows gradient{width(),
                                  MatrixOf(raw_q),
                                  MatrixOf(raw_p),
                                  0.5f,
                                  2.0f,
                                  Mask(0.25),
                                  difference.data_ptr<float>(),
                                  MatrixOf(d_y),
                                  MatrixOf(beta),
                                  MatrixOf(d_q),
                                  MatrixOf(d_p)};
  loops().rows->gate_gradient(gradient, kFirst, kRows, Scratch().data(), sums.data_ptr<float>());
  ExpectClose(d_q, leaves[0].grad(), "d raw q");
  ExpectClose(d_p, leaves[1].grad(), "d raw p");
  ExpectClose(sums - 1,
              at::cat({leaves[0].grad().sum(0), leaves[1].grad().sum(0), leaves[2].grad(),
                       leaves[3].grad()}),
              "sums");
}

TEST_P(RowLoopsTest, NormAndItsGradientAreThePlainOnes) {
  const at::Tensor x = Random() * 3 + 2, weight = Vector(), bias = Vector(), d_y = Random();
  const at::Tensor y = at::zeros({kRows, width()}), mean = at::zeros({kRows});
  const at::Tensor rstd = at::zeros({kRows}), d_x = at::ones({kRows, width()});
  const at::Tensor leaf = Leaf(x);
  const at::Tensor expected =
      at::layer_norm(leaf, {width()}, weight.to(at::kDouble), bias.to(at::kDouble));
  Own(expected * d_y).sum().backward();
  const float *w = weight.data_ptr<float>(), *b = bias.data_ptr<float>();
  float *means = mean.data_ptr<float>(), *rstds = rstd.data_ptr<float>();
  loops().rows->norm({width(), w, b, MatrixOf(x), MatrixOf(y), means, rstds}, kFirst, kRows);
  ExpectClose(Own(y), Own(expected.detach()), "y");
  ExpectClose(Own(mean), Own(leaf.detach().mean(1)), "mean");
  loops().rows->norm_gradient({width(), w, MatrixOf(d_y), MatrixOf(x), MatrixOf(d_x), means, rstds},
                              kFirst, kRows);
  ExpectClose(d_x - 1, leaf.grad(), "d x");
}

INSTANTIATE_TEST_SUITE_P(Versions, RowLoopsTest, AllLoops(64, 37), LoopsTestName);

}  // namespace
}  // namespace mixrec::model::cpu
