#include "worker/recommender.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "worker_fixture.h"

namespace mixrec::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RecommenderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = TestFolder();
    world_ = std::make_unique<World>(folder_, 40, 30);
    state_ = InitialisedState(*world_);
  }
  std::vector<std::vector<Recommendation>> Run(const std::vector<RecommendationQuery>& queries,
                                               const RecommendationOptions& options) {
    const auto lists = Recommend(world_->catalogue, queries, options, state_.get());
    EXPECT_TRUE(lists.ok()) << lists.status();
    return *lists;
  }
  absl::StatusOr<std::vector<RecommendationQuery>> Histories(const std::string& text) {
    const std::string path = folder_ + "/histories";
    EXPECT_TRUE(WriteFileAtomic(path, text).ok());
    return ReadHistories(world_->dataset, path);
  }
  const std::string& item(int32_t index) const { return world_->dataset.item_id(index); }

  std::string folder_;
  std::unique_ptr<World> world_;
  std::unique_ptr<ModelState> state_;
};

TEST_F(RecommenderTest, ListsAreOrderedDistinctAndWithoutSeenItems) {
  std::vector<std::string> ids;
  for (int32_t user = 0; user < 5; ++user) ids.push_back(world_->dataset.user_id(user));
  const auto queries = QueriesOfUsers(world_->dataset, ids);
  ASSERT_TRUE(queries.ok()) << queries.status();
  const auto lists = Run(*queries, {});
  for (size_t k = 0; k < lists.size(); ++k) {
    ASSERT_EQ(lists[k].size(), 10u);
    const auto& history = (*queries)[k].history;
    EXPECT_EQ(history.size(), world_->dataset.history(static_cast<int32_t>(k)).size());
    for (size_t place = 0; place < lists[k].size(); ++place) {
      const Recommendation& one = lists[k][place];
      EXPECT_EQ(std::count(history.begin(), history.end(), one.item), 0);
      if (place > 0) {
        EXPECT_GE(lists[k][place - 1].score, one.score);
      }
    }
  }
}

TEST_F(RecommenderTest, AllUnseenItemsWhenMoreAreAskedFor) {
  const auto queries = QueriesOfUsers(world_->dataset, {world_->dataset.user_id(0)});
  auto history = (*queries)[0].history;
  std::sort(history.begin(), history.end());
  const auto distinct = std::unique(history.begin(), history.end()) - history.begin();
  RecommendationOptions options;
  options.k = 1000;
  const auto unseen = static_cast<size_t>(world_->dataset.items() - distinct);
  EXPECT_EQ(Run(*queries, options)[0].size(), unseen);
  options.keep_seen = true;
  EXPECT_EQ(Run(*queries, options)[0].size(), static_cast<size_t>(world_->dataset.items()));
}

TEST_F(RecommenderTest, NewUserIsReadWithoutAUserColumn) {
  const auto known = QueriesOfUsers(world_->dataset, {world_->dataset.user_id(0)});
  RecommendationQuery stranger = (*known)[0];
  stranger.user = -1;
  RecommendationQuery other = (*known)[0];
  other.user = 1;
  const auto lists = Run({(*known)[0], stranger, other}, {});
  EXPECT_NE(lists[0][0].score, lists[1][0].score);
  EXPECT_NE(lists[0][0].score, lists[2][0].score);
  const auto alone = Run({stranger}, {});
  EXPECT_EQ(alone[0][0].item, lists[1][0].item);
  EXPECT_NEAR(alone[0][0].score, lists[1][0].score, 1e-5);
}

TEST_F(RecommenderTest, UnknownUserIsNamed) {
  const auto queries = QueriesOfUsers(world_->dataset, {"nobody"});
  EXPECT_EQ(ExitCodeOf(queries.status()), kExitData);
  EXPECT_THAT(std::string(queries.status().message()), HasSubstr("user nobody"));
}

TEST_F(RecommenderTest, HistoryFileKeepsOrderAndListsUnknownItems) {
  const auto queries = Histories(StrCat("# name and items\n\nana\t", item(4), " ", item(2),
                                        " what ", item(4), "\r\nbob ", item(1), "\n"));
  ASSERT_TRUE(queries.ok()) << queries.status();
  ASSERT_EQ(queries->size(), 2u);
  EXPECT_EQ((*queries)[0].name, "ana");
  EXPECT_EQ((*queries)[0].user, -1);
  EXPECT_THAT((*queries)[0].history, ElementsAre(4, 2, 4));
  EXPECT_THAT((*queries)[0].unknown_items, ElementsAre("what"));
  EXPECT_EQ((*queries)[1].name, "bob");
  EXPECT_THAT((*queries)[1].history, ElementsAre(1));
}

TEST_F(RecommenderTest, HistoryWithoutAKnownItemNamesItsLine) {
  const auto queries = Histories(StrCat("ana ", item(4), "\nbob what ever\n"));
  EXPECT_EQ(ExitCodeOf(queries.status()), kExitData);
  EXPECT_THAT(std::string(queries.status().message()), HasSubstr("histories:2: bob"));
}

}  // namespace
}  // namespace mixrec::worker
