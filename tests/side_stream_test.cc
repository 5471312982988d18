#include "tensor/side_stream.h"

#include <ATen/Context.h>
#include <gtest/gtest.h>

namespace mixrec::tensor {
namespace {

class SideStreamTest : public ::testing::TestWithParam<at::DeviceType> {
 protected:
  void SetUp() override {
    if (GetParam() == at::kCUDA && !at::hasCUDA()) GTEST_SKIP() << "no CUDA GPU on this machine";
  }
  at::Device device() const { return at::Device(GetParam(), GetParam() == at::kCUDA ? 0 : -1); }
  at::Tensor Ones(int64_t size) const { return at::ones({size, size}, device()); }
};

// Takes a GPU a while; of a matrix of ones it stays that.
at::Tensor Slowly(at::Tensor ones) {
  for (int i = 0; i < 20; ++i) ones = at::mm(ones, ones) / static_cast<double>(ones.size(0));
  return ones;
}

TEST_P(SideStreamTest, WorkComesAfterWhatWasLaunchedAndBeforeWhatFollowsJoin) {
  SideStream side(device());
  const at::Tensor before = Slowly(Ones(1024));
  at::Tensor made;
  side.Run({before}, [&] { made = Slowly(before) + 1; });
  side.Join();
  EXPECT_EQ((made + 1).max().item<float>(), 3.0f);
}

TEST_P(SideStreamTest, WhatIsKeptOutlivesItsOwner) {
  SideStream side(device());
  at::Tensor sum = at::zeros({}, device());
  at::Tensor dropped = Ones(1024);
  side.Run({dropped}, [&] {
    Slowly(Ones(1024));
    sum.add_(dropped.sum());
  });
  dropped = at::Tensor();
  const at::Tensor in_its_place = Ones(1024).mul_(5);
  side.Join();
  EXPECT_EQ(sum.item<float>(), 1024.0f * 1024.0f);
  EXPECT_EQ(in_its_place.max().item<float>(), 5.0f);
}

TEST_P(SideStreamTest, AForkIsWhereWorkMayBegin) {
  SideStream side(device());
  at::Tensor value = Ones(1024);
  side.Fork();
  at::Tensor seen;
  side.RunForked({value}, [&] { seen = value.clone(); });
  side.Join();
  value.mul_(2);
  EXPECT_EQ(seen.max().item<float>(), 1.0f);
}

INSTANTIATE_TEST_SUITE_P(Devices, SideStreamTest, testing::Values(at::kCPU, at::kCUDA));

}  // namespace
}  // namespace mixrec::tensor
