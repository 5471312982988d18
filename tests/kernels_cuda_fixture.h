// Runs a fused kernel on the CPU and on the GPU and compares what it wrote.
#pragma once

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace mixrec::model {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// Which tensors a run uses: the CPU in fp32, or the GPU in the tested type.
struct Lane {
  at::Device device;
  at::ScalarType type;
  at::Tensor Copy(const at::Tensor& tensor) const {
    return tensor.to(at::TensorOptions().device(device).dtype(type), false, true);
  }
  at::Tensor Exactly(const at::Tensor& tensor) const {  // keeps the type
    return tensor.to(device, /*non_blocking=*/false, /*copy=*/true);
  }
  at::Tensor Poisoned(at::IntArrayRef sizes) const { return Filled(sizes, type, kPoison); }
  at::Tensor PoisonedFp32(at::IntArrayRef sizes) const {
    return Filled(sizes, at::kFloat, kPoison);
  }
  at::Tensor Filled(at::IntArrayRef sizes, at::ScalarType of_type, double value) const {
    return at::full(sizes, value, at::TensorOptions().device(device).dtype(of_type));
  }
  static constexpr double kPoison = std::numeric_limits<double>::quiet_NaN();
};

class KernelsCuda : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override {
    if (c10::cuda::device_count() == 0) GTEST_SKIP() << "no CUDA GPU on this machine";
  }
  at::ScalarType type() const { return GetParam(); }
  Lane cpu() const { return {at::kCPU, at::kFloat}; }
  Lane gpu() const { return {at::Device(at::kCUDA, 0), type()}; }
  double tolerance() const { return type() == at::kFloat ? 1e-5 : 2e-2; }

  // Values that the tested type holds exactly, so that both lanes start from the same numbers.
  at::Tensor Random(at::IntArrayRef sizes, double deviation = 1.0, double mean = 0.0) {
    const at::Tensor values = at::empty(sizes, at::kFloat).normal_(mean, deviation, generator_);
    return values.to(type()).to(at::kFloat);
  }
  at::Tensor RandomFp32(at::IntArrayRef sizes, double deviation = 1.0) {
    return at::empty(sizes, at::kFloat).normal_(0.0, deviation, generator_);
  }

  // Relative Frobenius distance of every tensor.
  void ExpectClose(const NamedTensors& expected, const NamedTensors& found, double bound) {
    ASSERT_EQ(expected.size(), found.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      const at::Tensor want = expected[i].second.to(at::kDouble);
      const at::Tensor have = found[i].second.to(at::kCPU).to(at::kDouble);
      ASSERT_EQ(want.sizes(), have.sizes()) << expected[i].first;
      const double scale = std::max(want.norm().item<double>(), 1e-12);
      EXPECT_LE((want - have).norm().item<double>() / scale, bound) << expected[i].first;
    }
  }
  void ExpectClose(const NamedTensors& expected, const NamedTensors& found) {
    ExpectClose(expected, found, tolerance());
  }

  at::Generator generator_ = at::detail::createCPUGenerator(20240607);
};

inline std::string TypeName(const testing::TestParamInfo<at::ScalarType>& info) {
  return info.param == at::kFloat ? "fp32" : "bf16";
}

}  // namespace mixrec::model
