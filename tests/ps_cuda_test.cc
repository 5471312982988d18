// Shards on a GPU do what they do on a CPU.
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "ps/combine.h"
#include "ps/snapshot.h"
#include "ps/vocabulary.h"
#include "test_folder.h"

namespace mixrec::ps {
namespace {

const at::Device kGpu(at::kCUDA, 0);

std::vector<int32_t> Every(int64_t rows, int64_t stride = 1) {
  std::vector<int32_t> ids;
  for (int64_t row = 0; row < rows; row += stride) ids.push_back(static_cast<int32_t>(row));
  return ids;
}

TableSpec RowSpec(Optimizer kind) {
  TableSpec spec;
  spec.name = "cf.user";
  spec.rows = 5000;
  spec.parts = {{"gmf", 24, 0.1}, {"mlp", 8, 0.1}};
  spec.optimizer.kind = kind;
  return spec;
}

TableSpec ItemSpec(bool dense) {
  TableSpec spec;
  spec.name = "item_proj";
  spec.rows = 3000;
  spec.parts = {{"weight", 48, 0.2}, {"bias", 1, 0.2}};
  spec.partition = Partition::kRanges;
  spec.dense = dense;
  return spec;
}

TEST(TableCuda, StepsAndPullsEqualTheCpu) {
  for (const Optimizer kind : {Optimizer::kSgd, Optimizer::kAdagrad, Optimizer::kAdamW}) {
    Table cpu(RowSpec(kind), {}, at::kCPU), gpu(RowSpec(kind), {}, kGpu);
    at::manual_seed(1);
    for (int64_t step = 1; step <= 4; ++step) {
      const std::vector<int32_t> ids = Every(5000, step);
      const at::Tensor g = at::randn({static_cast<int64_t>(ids.size()), 32});
      cpu.Push(ids, g.data_ptr<float>(), 1e-2);
      gpu.Push(ids, g.data_ptr<float>(), 1e-2);
    }
    const std::vector<int32_t> ids = Every(5000, 7);
    std::vector<float> pulled(ids.size() * 32);
    gpu.Pull(ids, pulled.data());
    const at::Tensor rows = gpu.PullRows(ids).cpu();
    EXPECT_TRUE(at::equal(rows, at::tensor(at::ArrayRef<float>(pulled)).view({-1, 32})));
    EXPECT_TRUE(at::allclose(rows, cpu.PullRows(ids), 1e-4, 1e-5));
    const at::Tensor counts = gpu.OptimizerState().back().second.cpu();
    EXPECT_TRUE(at::equal(counts, cpu.OptimizerState().back().second));
  }
}

TEST(TableCuda, DenseStepsEqualTheCpu) {
  for (const Optimizer kind : {Optimizer::kSgd, Optimizer::kAdagrad, Optimizer::kAdamW}) {
    TableSpec spec = ItemSpec(true);
    spec.optimizer.kind = kind;
    Table cpu(spec, {}, at::kCPU), gpu(spec, {}, kGpu);
    at::manual_seed(2);
    for (int step = 0; step < 3; ++step) {
      const at::Tensor a = at::randn({3000, 48}), b = at::randn({3000, 1});
      cpu.StepAll({a, b}, 1e-2);
      gpu.StepAll({a.to(kGpu), b.to(kGpu)}, 1e-2);
    }
    EXPECT_TRUE(at::allclose(gpu.PartValues(0).cpu(), cpu.PartValues(0), 1e-4, 1e-5));
    std::vector<int32_t> some = {5, 2999};
    EXPECT_TRUE(at::allclose(gpu.PullRows(some).cpu(), cpu.PullRows(some), 1e-4, 1e-5));
  }
}

TEST(TableCuda, SnapshotsGoBetweenDevices) {
  Table gpu(RowSpec(Optimizer::kAdamW), {}, kGpu), cpu(RowSpec(Optimizer::kAdamW), {}, at::kCPU);
  gpu.PushRows(Every(5000, 3), at::randn({1667, 32}).to(kGpu), 1e-2);
  const std::string folder = TestFolder();
  ASSERT_TRUE(WriteSnapshot(folder, 1, {&gpu}).ok());
  ASSERT_TRUE(ReadSnapshotTable(folder, &cpu).ok());
  Table back(RowSpec(Optimizer::kAdamW), {}, kGpu);
  ASSERT_TRUE(ReadSnapshotTable(folder, &back).ok());
  EXPECT_TRUE(at::equal(cpu.PullRows(Every(5000)), gpu.PullRows(Every(5000)).cpu()));
  EXPECT_TRUE(at::equal(back.PullRows(Every(5000)), gpu.PullRows(Every(5000))));
}

struct Lane {
  Lane(const TableSpec& spec, at::Device device)
      : table(spec, {1000, kBuckets}, device), vocabulary(&table, {4096}) {}
  Table table;
  Vocabulary vocabulary;
};

TEST(VocabularyCuda, SoftmaxAndItsStepEqualTheCpu) {
  at::manual_seed(3);
  const at::Tensor states = at::randn({60, 48}), weights = at::rand({60});
  std::vector<int32_t> labels;
  for (int32_t n = 0; n < 60; ++n) labels.push_back(n * 733 % 3000);
  for (const bool dense : {true, false}) {
    TableSpec spec = ItemSpec(dense);
    spec.optimizer = {Optimizer::kSgd, 0, 0, 0, 0};
    const Sampling sampling{dense ? 0 : 400, true};
    Lane cpu(spec, at::kCPU), gpu(spec, kGpu), kept(spec, kGpu);
    at::Tensor lse;
    for (Lane* lane : {&cpu, &gpu, &kept}) {
      SoftmaxBatch batch = lane->vocabulary.MakeBatch(states, labels.data());
      const ShardSoftmax part =
          lane->vocabulary.Forward(sampling, 1, lane == &kept ? 1 << 30 : 0, &batch);
      SoftmaxBatch cpu_batch = cpu.vocabulary.MakeBatch(states, labels.data());
      const ShardSoftmax expected = cpu.vocabulary.Forward(sampling, 1, 0, &cpu_batch);
      if (lane == &cpu) lse = part.maximum + part.sum.log();
      const at::Tensor scale = (part.maximum.cpu() - expected.maximum).exp();
      EXPECT_TRUE(at::allclose(part.sum.cpu() * scale, expected.sum, 1e-4, 1e-5));
      EXPECT_TRUE(at::allclose(part.numerators.cpu() * scale.unsqueeze(1), expected.numerators,
                               1e-3, 1e-3));
      EXPECT_TRUE(at::allclose(part.label_logits.cpu(), expected.label_logits, 1e-4, 1e-4, true));
      EXPECT_TRUE(at::equal(part.label_rows.cpu(), expected.label_rows));
      lane->vocabulary.Backward(sampling, 1, batch, lse, weights);
    }
    for (Lane* lane : {&cpu, &gpu, &kept}) lane->vocabulary.ApplyStep(0.5);
    for (const size_t part : {0, 1}) {
      EXPECT_TRUE(at::equal(gpu.table.PartValues(part), kept.table.PartValues(part)));
      EXPECT_TRUE(
          at::allclose(gpu.table.PartValues(part).cpu(), cpu.table.PartValues(part), 1e-4, 1e-4));
    }
  }
}

TEST(VocabularyCuda, RanksAndBestRowsEqualTheCpu) {
  at::manual_seed(4);
  const at::Tensor states = at::randn({20, 48});
  const std::vector<int32_t> targets(20, 2500);
  Exclusions excluded;
  excluded.offsets.push_back(0);
  for (int32_t n = 0; n < 20; ++n) {
    excluded.ids.push_back(1000 + n);
    excluded.offsets.push_back(n + 1);
  }
  Lane cpu(ItemSpec(true), at::kCPU), gpu(ItemSpec(true), kGpu);
  const at::Tensor scores = cpu.vocabulary.TargetScores(states, targets);
  EXPECT_TRUE(at::allclose(gpu.vocabulary.TargetScores(states, targets), scores, 1e-4, 1e-5));
  EXPECT_TRUE(
      at::equal(cpu.vocabulary.CountAhead(states, targets, scores, excluded),
                gpu.vocabulary.CountAhead(states, targets,
                                          gpu.vocabulary.TargetScores(states, targets), excluded)));
  EXPECT_TRUE(at::equal(cpu.vocabulary.TopK(states, 10, excluded).first,
                        gpu.vocabulary.TopK(states, 10, excluded).first));
}

}  // namespace
}  // namespace mixrec::ps
