#include "worker/tables.h"

#include <gtest/gtest.h>

#include "model/parameters.h"

namespace mixrec::worker {
namespace {

RowTable SmallTable(int64_t rows = 6) {
  RowTable table("cf.user", {{"cf.user_gmf.weight", 3}, {"cf.user_mlp.weight", 2}}, rows, at::kCPU,
                 {});
  table.Initialise(5, 0.02);
  return table;
}

TEST(RowTable, RowsAreTheirPartsSideBySide) {
  const RowTable table = SmallTable();
  const auto values = table.Values();
  ASSERT_EQ(values.size(), 2u);
  EXPECT_EQ(values[0].first, "cf.user_gmf.weight");
  const at::Tensor row = table.Pull({4});
  EXPECT_TRUE(at::equal(row.narrow(1, 0, 3), values[0].second.narrow(0, 4, 1)));
  EXPECT_TRUE(at::equal(row.narrow(1, 3, 2), values[1].second.narrow(0, 4, 1)));
}

TEST(RowTable, AnInitialRowDependsOnSeedNameAndRowAlone) {
  EXPECT_TRUE(at::equal(SmallTable(6).Pull({2, 5}), SmallTable(100).Pull({2, 5})));
  at::Tensor expected = at::empty({1, 3});
  model::FillInitialRows(5, "cf.user_gmf.weight", {2}, 0.02, expected);
  EXPECT_TRUE(at::equal(SmallTable().Pull({2}).narrow(1, 0, 3), expected));
}

TEST(RowTable, PushMovesNamedRowsOnlyAndCountsTheirOwnUpdates) {
  RowTable table = SmallTable();
  const at::Tensor before = table.Pull({0, 1, 2, 3, 4, 5});
  table.Push({3, 1}, at::ones({2, 5}), 1e-2);
  const at::Tensor after = table.Pull({0, 1, 2, 3, 4, 5});
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
  early.Push({2}, at::ones({1, 5}), 1e-2);
  for (int i = 0; i < 4; ++i) late.Push({0}, at::ones({1, 5}), 1e-2);
  late.Push({2}, at::ones({1, 5}), 1e-2);
  EXPECT_TRUE(at::equal(early.Pull({2}), late.Pull({2})));
}

TEST(RowTable, MfHasOnePart) {
  model::ModelOptions options;
  options.cf = model::CfKind::kMf;
  const auto parts = CfTableParts(options, "item");
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].name, "cf.item.weight");
  EXPECT_EQ(parts[0].width, options.mf_width);
}

}  // namespace
}  // namespace mixrec::worker
