// Means, spreads and the files of a table.
#include "launch/table_results.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "launch/table_report.h"

namespace mixrec::launch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

Json Evaluation(const char* split, const char* seen, double ndcg, int64_t candidates = 40) {
  return {
      {"split", split},
      {"metrics", {{"NDCG@10", ndcg}, {"Recall@10", 2 * ndcg}, {"MRR", ndcg / 2}}},
      {"protocol", {{"split", "leave-one-out"}, {"candidates", candidates}, {"seen_items", seen}}},
      {"users", 60}};
}

RowRecord Finished(double ndcg, int64_t candidates = 40) {
  RowRecord record;
  record.state = RowState::kFinished;
  record.best_epoch = 6;
  record.data_hash = record.backbone_hash = "h";
  record.evaluations = {Evaluation("validation", "kept", ndcg + .02, candidates),
                        Evaluation("test", "kept", ndcg, candidates),
                        Evaluation("test", "masked", ndcg + .01, candidates)};
  return record;
}

RowRecord Failed(const std::string& reason) {
  RowRecord record;
  record.state = RowState::kFailed;
  record.reason = reason;
  return record;
}

// Two systems, "a<b" with two seeds and "c" with one.
TablePlan Plan() {
  TablePlan plan;
  plan.systems = {{"a<b", "less", {}, 2}, {"c", "third", {}, 1}};
  for (const auto& [system, seed] : {std::pair{0, 1}, {0, 2}, {1, 1}}) {
    TableRow row;
    row.system = static_cast<size_t>(system);
    row.seed = seed;
    row.name = StrCat(plan.systems[row.system].name, " seed ", seed);
    plan.rows.push_back(row);
  }
  return plan;
}

TEST(Spread, IsTheSampleStandardDeviation) {
  const Spread spread = SpreadOf({1, 2, 6});
  EXPECT_DOUBLE_EQ(spread.mean, 3);
  EXPECT_DOUBLE_EQ(spread.deviation, std::sqrt((4 + 1 + 9) / 2.0));
  EXPECT_EQ(SpreadOf({5}).deviation, 0);
  EXPECT_EQ(Cell(SpreadOf({.0781, .0799})), ".0790 \xC2\xB1 .0013");
  EXPECT_EQ(Cell(SpreadOf({.5})), ".5000");
  EXPECT_EQ(Cell(SpreadOf({})), "-");
}

TEST(Table, HoldsMeansBothMaskingsAndTheProtocol) {
  const TableResult table = Collect(Plan(), {Finished(.10), Finished(.12), Finished(.2)}).value();
  EXPECT_DOUBLE_EQ(Find(table.systems[0], "test kept", "NDCG@10")->mean, .11);
  EXPECT_DOUBLE_EQ(Find(table.systems[0], "test masked", "NDCG@10")->mean, .12);
  EXPECT_THAT(table.systems[0].seeds, ElementsAre(1, 2));
  const std::string text = Markdown(table);
  EXPECT_THAT(text, HasSubstr("| c | third | 1 | .2000 | .4000 | .1000 | .2100 |"));
  EXPECT_THAT(text, HasSubstr(".1100 \xC2\xB1 .0141"));
  EXPECT_THAT(text, HasSubstr("ranking of 40 items for 60 users; seen items kept, or masked"));
  EXPECT_THAT(text, Not(HasSubstr("without a result")));
  EXPECT_THAT(Tsv(table), HasSubstr("\nc\t1\ttest\tmasked\t0.210000\t0.000000\t"));
  const Json line = Json::parse(JsonLines(table).substr(0, JsonLines(table).find('\n')));
  EXPECT_EQ(line["metrics"]["test"]["kept"]["NDCG@10"]["values"], Json({.10, .12}));
}

TEST(Table, ARowThatFailedIsThereWithItsReason) {
  const TableResult table =
      Collect(Plan(), {Finished(.10), Failed("killed by signal 11"), RowRecord()}).value();
  EXPECT_THAT(table.systems[0].seeds, ElementsAre(1));
  EXPECT_THAT(Markdown(table), HasSubstr("- a<b, seed 2: killed by signal 11\n"));
  EXPECT_THAT(Markdown(table), HasSubstr("- c, seed 1: not run yet\n"));
  EXPECT_THAT(Page(table), HasSubstr("<b>a&lt;b, seed 2</b>: killed by signal 11"));
  EXPECT_THAT(Tsv(table), Not(HasSubstr("\nc\t")));
}

TEST(Table, ThePageNeedsNothingElse) {
  const std::string page =
      Page(Collect(Plan(), {Finished(.10), Finished(.12), Finished(.2)}).value());
  EXPECT_THAT(page, HasSubstr("<svg"));
  EXPECT_THAT(page, Not(HasSubstr("http")));
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, Not(HasSubstr("a<b")));
}

TEST(Table, RowsOfAnotherProtocolOrOtherDataDoNotStandInIt) {
  const auto protocol = Collect(Plan(), {Finished(.1), Finished(.1, 41), Finished(.1)});
  EXPECT_THAT(protocol.status().message(), HasSubstr("a<b seed 2"));
  RowRecord other = Finished(.1);
  other.data_hash = "other";
  EXPECT_EQ(ExitCodeOf(Collect(Plan(), {Finished(.1), Finished(.1), other}).status()), kExitData);
}

}  // namespace
}  // namespace mixrec::launch
