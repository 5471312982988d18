// Tests of the CPU's inner loops, each on every version of them that this processor can run, and on
// a width that fills whole registers and one that does not.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "model/loops.h"

namespace mixrec::model::cpu {

class LoopsTest : public testing::TestWithParam<std::tuple<std::string, int64_t>> {
 protected:
  void SetUp() override {
    at::manual_seed(7);
    loops_ = std::get<0>(GetParam()) == "portable" ? &PortableLoops() : Avx512Loops();
    if (loops_ == nullptr) GTEST_SKIP() << "this processor, or this build, has no AVX-512";
  }

  const Loops& loops() const { return *loops_; }
  int64_t width() const { return std::get<1>(GetParam()); }

  // Rows of `width` floats that do not stand one behind the other.
  static at::Tensor Strided(int64_t rows, int64_t width) {
    return at::randn({rows, width + 5}).narrow(1, 3, width);
  }
  static Matrix MatrixOf(const at::Tensor& tensor) {
    return {tensor.data_ptr<float>(), tensor.stride(0)};
  }
  // A leaf of the reference, in fp64, whose gradient is wanted.
  static at::Tensor Leaf(const at::Tensor& tensor) {
    return tensor.to(at::kDouble).requires_grad_();
  }

  static void ExpectClose(const at::Tensor& actual, const at::Tensor& expected, const char* name) {
    const at::Tensor difference = (actual.to(at::kDouble) - expected).abs();
    // fp32's rounding in sums of some hundred values of about 1; NaN is not less, either.
    EXPECT_TRUE(difference.max().item<double>() < 2e-5 * (1 + expected.abs().max().item<double>()))
        << name << " differs by " << difference.max().item<double>();
  }

 private:
  const Loops* loops_ = nullptr;
};

inline std::string LoopsTestName(const testing::TestParamInfo<LoopsTest::ParamType>& info) {
  return (std::get<0>(info.param) == "portable" ? "Portable" : "Avx512") + std::string("Width") +
         std::to_string(std::get<1>(info.param));
}

inline auto AllLoops(int64_t width, int64_t odd_width) {
  return testing::Combine(testing::Values("portable", "AVX-512"),
                          testing::Values(width, odd_width));
}

}  // namespace mixrec::model::cpu
