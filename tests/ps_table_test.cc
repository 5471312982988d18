#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "ps/row_optimizer.h"
#include "ps/table.h"
#include "tensor/initial_rows.h"
#include "tensor/optimizer.h"

namespace mixrec::ps {
namespace {

TableSpec Spec(int64_t rows, Optimizer kind, bool dense = false) {
  TableSpec spec;
  spec.name = "cf.user";
  spec.rows = rows;
  spec.parts = {{"gmf", 5, 0.5}, {"mlp", 3, 0.1}};
  spec.optimizer.kind = kind;
  spec.dense = dense;
  spec.partition = dense ? Partition::kRanges : Partition::kHashed;
  spec.seed = 7;
  return spec;
}

std::vector<int32_t> AllIds(int64_t rows) {
  std::vector<int32_t> ids(static_cast<size_t>(rows));
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

at::Tensor PullAll(const Table& table) { return table.PullRows(AllIds(table.spec().rows)); }

TEST(Table, AnInitialRowIsTheSameInEveryShard) {
  for (const bool dense : {false, true}) {
    const TableSpec spec = Spec(9000, Optimizer::kAdamW, dense);
    const at::Tensor whole = PullAll(Table(spec, {}, at::kCPU));
    for (const BucketRange& buckets : {BucketRange{0, 1000}, BucketRange{1000, 4096}}) {
      const Table shard(spec, buckets, at::kCPU);
      for (int64_t local = 0; local < shard.layout().local_rows(); local += 97) {
        const auto id = static_cast<int32_t>(shard.layout().RowOf(local));
        EXPECT_TRUE(at::equal(shard.PullRows({id})[0], whole[id]));
      }
    }
    at::Tensor expected = at::empty({1, 3}, at::kFloat);
    tensor::FillInitialRows(7, "mlp", {4321}, 0.1, expected);
    EXPECT_TRUE(at::equal(whole.narrow(0, 4321, 1).narrow(1, 5, 3), expected));
  }
}

TEST(Table, OwnsOnlyItsOwnRows) {
  const Table shard(Spec(9000, Optimizer::kSgd), {10, 20}, at::kCPU);
  EXPECT_TRUE(shard.Owns({10, 19, 4096 + 15}));
  EXPECT_FALSE(shard.Owns({10, 20}));
  EXPECT_FALSE(shard.Owns({-1}));
  EXPECT_FALSE(shard.Owns({9000}));
}

TEST(Table, SparseAdamWEqualsTheRowLazyStepBitForBit) {
  const TableSpec spec = Spec(100, Optimizer::kAdamW);
  Table table(spec, {}, at::kCPU);
  at::Tensor value = PullAll(table).clone();
  at::Tensor m = at::zeros_like(value), v = at::zeros_like(value),
             counts = at::zeros({100}, at::kInt);
  at::manual_seed(1);
  for (int step = 0; step < 70; ++step) {
    const std::vector<int32_t> ids = step % 3 == 0 ? AllIds(100) : std::vector<int32_t>{7, 3, 99};
    const at::Tensor g = at::randn({static_cast<int64_t>(ids.size()), 8});
    const double rate = 1e-2 / (1 + step);
    table.PushRows(ids, g, rate);
    tensor::RowAdamWStep(AdamWOptionsOf(spec.optimizer), rate,
                         at::tensor(at::ArrayRef<int32_t>(ids), at::kInt).to(at::kLong), g, value,
                         m, v, counts);
  }
  EXPECT_TRUE(at::equal(PullAll(table), value));
  const NamedTensors state = table.OptimizerState();
  ASSERT_EQ(state.size(), 5u);
  EXPECT_EQ(state[1].first, "first_moment.mlp");
  EXPECT_TRUE(at::equal(state[1].second, m.narrow(1, 5, 3)));
  EXPECT_EQ(state[2].first, "second_moment.gmf");
  EXPECT_TRUE(at::equal(state[2].second, v.narrow(1, 0, 5)));
  EXPECT_EQ(state[4].first, "update_count.cf.user");
  EXPECT_TRUE(at::equal(state[4].second, counts));
}

TEST(Table, DenseAdamWEqualsTheFlatStepBitForBit) {
  const TableSpec spec = Spec(100, Optimizer::kAdamW, true);
  Table table(spec, {}, at::kCPU);
  at::Tensor value = table.PartValues(0).clone();
  at::Tensor m = at::zeros_like(value), v = at::zeros_like(value);
  at::manual_seed(2);
  for (int64_t step = 1; step <= 3; ++step) {
    const at::Tensor g = at::randn({100, 5});
    table.StepAll({g, at::randn({100, 3})}, 1e-2);
    tensor::AdamWStep(AdamWOptionsOf(spec.optimizer), 1e-2, step, g, value, m, v);
  }
  EXPECT_TRUE(at::equal(table.PartValues(0), value));
  EXPECT_TRUE(at::equal(table.OptimizerState()[2].second, v));
  EXPECT_TRUE(at::equal(table.OptimizerState()[4].second, at::full({100}, 3, at::kInt)));
}

// The formulas of torch.optim, in double.
TEST(Table, SgdAndAdagradFollowTheirFormulas) {
  for (const bool dense : {false, true}) {
    for (const Optimizer kind : {Optimizer::kSgd, Optimizer::kAdagrad}) {
      const TableSpec spec = Spec(6, kind, dense);
      Table table(spec, {}, at::kCPU);
      at::Tensor w = PullAll(table).to(at::kDouble), sum = at::zeros_like(w);
      at::manual_seed(3);
      for (int step = 0; step < 3; ++step) {
        const at::Tensor g = at::randn({6, 8});
        if (dense) {
          table.StepAll({g.narrow(1, 0, 5).contiguous(), g.narrow(1, 5, 3).contiguous()}, 0.1);
        } else {
          table.PushRows(AllIds(6), g, 0.1);
        }
        const at::Tensor h = g.to(at::kDouble);
        if (kind == Optimizer::kSgd) {
          w = w - 0.1 * (h + spec.optimizer.weight_decay * w);
        } else {
          sum = sum + h * h;
          w = w - 0.1 * h / (sum.sqrt() + spec.optimizer.epsilon);
        }
      }
      EXPECT_TRUE(at::allclose(PullAll(table).to(at::kDouble), w, 1e-5, 1e-6));
    }
  }
}

TEST(Table, APushTouchesOnlyItsRows) {
  Table table(Spec(50, Optimizer::kAdagrad), {}, at::kCPU);
  const at::Tensor before = PullAll(table).clone();
  table.PushRows({4, 2}, at::ones({2, 8}), 0.1);
  const at::Tensor changed = PullAll(table).ne(before).any(1);
  EXPECT_EQ(changed.sum().item<int64_t>(), 2);
  EXPECT_TRUE(changed[2].item<bool>() && changed[4].item<bool>());
}

TEST(Table, ShardsTogetherDoWhatOneDoes) {
  const TableSpec spec = Spec(9000, Optimizer::kAdamW);
  Table whole(spec, {}, at::kCPU);
  const at::Tensor g = at::randn({9000, 8});
  whole.PushRows(AllIds(9000), g, 0.1);
  for (const BucketRange& buckets : {BucketRange{0, 1365}, BucketRange{1365, 4096}}) {
    Table shard(spec, buckets, at::kCPU);
    std::vector<int32_t> ids;
    for (int64_t i = 0; i < shard.layout().local_rows(); ++i) {
      ids.push_back(static_cast<int32_t>(shard.layout().RowOf(i)));
    }
    const at::Tensor index = at::tensor(at::ArrayRef<int32_t>(ids), at::kInt).to(at::kLong);
    shard.PushRows(ids, g.index_select(0, index), 0.1);
    EXPECT_TRUE(at::equal(shard.PullRows(ids), whole.PullRows(ids)));
  }
}

TEST(Table, LongPullsOfNeighboursAndStrangersEqualSingleRows) {
  const Table table(Spec(60000, Optimizer::kSgd), {}, at::kCPU);
  std::vector<int32_t> ids = AllIds(50000);
  for (int32_t i = 0; i < 5000; ++i) ids.push_back((i * 7919) % 60000);
  const at::Tensor rows = table.PullRows(ids);
  for (size_t i = 0; i < ids.size(); i += 501) {
    EXPECT_TRUE(at::equal(rows[static_cast<int64_t>(i)], table.PullRows({ids[i]})[0]));
  }
}

TEST(Table, StateReadAndWrittenElsewhereContinuesBitForBit) {
  for (const bool dense : {false, true}) {
    const TableSpec spec = Spec(40, Optimizer::kAdamW, dense);
    Table from(spec, {}, at::kCPU);
    const auto step = [&](Table& table, uint64_t seed) {
      at::manual_seed(seed);
      const at::Tensor a = at::randn({40, 5}), b = at::randn({40, 3});
      if (dense) table.StepAll({a, b}, 0.1);
      if (!dense) table.PushRows(AllIds(40), at::cat({a, b}, 1), 0.1);
    };
    step(from, 1);
    step(from, 2);
    std::vector<float> state(static_cast<size_t>(40 * from.state_width()));
    std::vector<int32_t> counts(40);
    from.ReadState(0, 40, state.data(), counts.data());
    Table to(spec, {}, at::kCPU);
    std::vector<int64_t> rows(40);
    std::iota(rows.begin(), rows.end(), int64_t{0});
    to.WriteState(rows, state.data(), counts.data());
    step(from, 3);
    step(to, 3);
    EXPECT_TRUE(at::equal(PullAll(to), PullAll(from)));
  }
}

}  // namespace
}  // namespace mixrec::ps
