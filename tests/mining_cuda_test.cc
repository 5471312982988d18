// Neighbours and BERT on a GPU against the CPU.
#include <ATen/Context.h>
#include <gtest/gtest.h>

#include "common/random.h"
#include "mining/neighbours.h"
#include "model/bert.h"
#include "tests/bert_fixture.h"
#include "tests/test_folder.h"

namespace mixrec::mining {
namespace {

class MiningCuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA GPU here";
  }
};

TEST_F(MiningCuda, NeighboursAreThoseOfTheCpu) {
  at::Tensor vectors = at::empty({5000, 64}, at::kFloat);
  RandomStream random(1);
  for (int64_t k = 0; k < vectors.numel(); ++k) {
    vectors.data_ptr<float>()[k] = static_cast<float>(random.Normal());
  }
  NeighbourOptions options;
  options.item_block = 1024;
  const at::Tensor expected = NeighbourSearch(vectors, options).Nearest(100, 512, 25);
  options.device = at::Device(at::kCUDA, 0);
  const at::Tensor found = NeighbourSearch(vectors, options).Nearest(100, 512, 25);
  // Neighbours whose distances differ by rounding may change places.
  EXPECT_LT(found.ne(expected).sum().item<int64_t>(), 20);
}

TEST_F(MiningCuda, BertVectorsAreThoseOfTheCpu) {
  const std::string folder = TestFolder();
  model::WriteTinyBert(folder, model::TinyBertTensors(4));
  const std::vector<std::vector<int32_t>> texts = {{1, 2, 3}, {4, 5, 6, 7}, {8, 9, 10}};
  const auto cpu = model::LoadBert(folder, at::kCPU, at::kFloat);
  const auto gpu = model::LoadBert(folder, at::Device(at::kCUDA, 0), at::kFloat);
  ASSERT_TRUE(cpu.ok() && gpu.ok());
  EXPECT_LE((BertMeans(*gpu, texts) - BertMeans(*cpu, texts)).abs().max().item<double>(), 1e-4);
}

}  // namespace
}  // namespace mixrec::mining
