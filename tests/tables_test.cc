#include "worker/tables.h"

#include <gtest/gtest.h>

#include "model/parameters.h"
#include "worker/table_specs.h"

namespace mixrec::worker {
namespace {

model::ModelOptions SmallCf() {
  model::ModelOptions options;
  options.cf_gmf = 3;
  options.cf_mlp = 2;
  return options;
}

RowTable SmallTable(int64_t rows = 6) {
  RowTable table(CfTableSpec(SmallCf(), kUserTable, rows, {}), at::kCPU);
  EXPECT_TRUE(table.Initialise(5).ok());
  return table;
}

at::Tensor Rows(RowTable* table, const std::vector<int32_t>& ids) { return *table->Pull(0, ids); }

void Push(RowTable* table, const std::vector<int32_t>& ids) {
  const at::Tensor gradients = at::ones({static_cast<int64_t>(ids.size()), 5});
  EXPECT_TRUE(table->Push(0, ids, gradients, 1e-2).ok());
}

TEST(RowTable, RowsAreTheirPartsSideBySide) {
  RowTable table = SmallTable();
  const auto values = table.Values();
  ASSERT_EQ(values.size(), 2u);
  EXPECT_EQ(values[0].first, "cf.user_gmf.weight");
  const at::Tensor row = Rows(&table, {4});
  EXPECT_TRUE(at::equal(row.narrow(1, 0, 3), values[0].second.narrow(0, 4, 1)));
  EXPECT_TRUE(at::equal(row.narrow(1, 3, 2), values[1].second.narrow(0, 4, 1)));
}

TEST(RowTable, AnInitialRowDependsOnSeedNameAndRowAlone) {
  RowTable small = SmallTable(6), large = SmallTable(100);
  EXPECT_TRUE(at::equal(Rows(&small, {2, 5}), Rows(&large, {2, 5})));
  at::Tensor expected = at::empty({1, 3});
  model::FillInitialRows(5, "cf.user_gmf.weight", {2}, 0.02, expected);
  EXPECT_TRUE(at::equal(Rows(&small, {2}).narrow(1, 0, 3), expected));
}

TEST(RowTable, PushMovesNamedRowsOnlyAndCountsTheirOwnUpdates) {
  RowTable table = SmallTable();
  const at::Tensor before = Rows(&table, {0, 1, 2, 3, 4, 5});
  Push(&table, {3, 1});
  const at::Tensor after = Rows(&table, {0, 1, 2, 3, 4, 5});
  for (const int64_t row : {0, 2, 4, 5}) EXPECT_TRUE(at::equal(before[row], after[row]));
  // The first step of Adam is lr * sign(gradient), after the decay.
  const at::Tensor expected = before[3] * (1 - 1e-2 * 0.01) - 1e-2;
  EXPECT_TRUE(at::allclose(after[3], expected, 1e-5, 1e-7));
  const auto [name, counts] = table.OptimizerState().back();
  EXPECT_EQ(name, "update_count.cf.user");
  EXPECT_TRUE(at::equal(counts, at::tensor({0, 1, 0, 1, 0, 0}, at::kInt)));
}

TEST(RowTable, LateFirstUpdateOfARowEqualsAnEarlyOne) {
  RowTable early = SmallTable(), late = SmallTable();
  Push(&early, {2});
  for (int i = 0; i < 4; ++i) Push(&late, {0});
  Push(&late, {2});
  EXPECT_TRUE(at::equal(Rows(&early, {2}), Rows(&late, {2})));
}

TEST(RowTable, MfHasOnePart) {
  model::ModelOptions options;
  options.cf = model::CfKind::kMf;
  const auto parts = CfTableSpec(options, kItemTable, 5, {}).parts;
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].name, "cf.item.weight");
  EXPECT_EQ(parts[0].width, options.mf_width);
}

}  // namespace
}  // namespace mixrec::worker
