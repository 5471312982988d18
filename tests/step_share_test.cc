#include "data/step_share.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "batch_fixture.h"

namespace mixrec::data {
namespace {

struct SharedWorld : World {
  BatchOptions options = Options();

  SharedWorld() { options.max_items = 5; }
  PackedBatch Whole(const std::vector<int32_t>& users) const { return Train(options, users); }
  PackedBatch Part(const std::vector<int32_t>& users, int32_t rank, int32_t ranks) const {
    return BuildSharedBatch(dataset, catalogue, hard_samples, options, 0, users, {rank, ranks});
  }
};

std::vector<int32_t> Sorted(std::vector<int32_t> ids) {
  std::sort(ids.begin(), ids.end());
  return ids;
}

const std::vector<int32_t> kUsers{0, 3, 6, 9, 12, 15, 20};

TEST(StepShare, EveryRankKnowsTheRowsAndTokensOfTheWholeStep) {
  SharedWorld world;
  for (const int inject : {0, 1, 2, 3}) {
    world.options.inject_user = inject % 2 == 0;
    world.options.inject_item = inject < 2;
    world.options.use_cf = inject != 3;
    const PackedBatch whole = world.Whole(kUsers);
    for (int32_t rank = 0; rank < 3; ++rank) {
      const WholeStep step = world.Part(kUsers, rank, 3).whole;
      EXPECT_EQ(step.user_ids, Sorted(whole.user_ids)) << inject;
      EXPECT_EQ(step.item_ids, Sorted(whole.item_ids)) << inject;
      EXPECT_EQ(step.counted_tokens, whole.counted_tokens()) << inject;
    }
  }
}

TEST(StepShare, EveryRankKnowsWhatEachReads) {
  const SharedWorld world;
  const WholeStep step = world.Part(kUsers, 0, 4).whole;
  size_t sequences = 0;
  for (int32_t rank = 0; rank < 4; ++rank) {
    const PackedBatch part = world.Part(kUsers, rank, 4);
    EXPECT_EQ(step.sequence_reads[static_cast<size_t>(rank)],
              static_cast<int32_t>(part.sequence_rows.size()));
    EXPECT_EQ(step.alignment_reads[static_cast<size_t>(rank)],
              static_cast<int32_t>(part.alignment_rows.size()));
    sequences += part.sequence_rows.size();
  }
  EXPECT_EQ(sequences, world.Whole(kUsers).sequence_rows.size());
}

TEST(StepShare, WithoutAlignmentNothingIsAligned) {
  SharedWorld world;
  world.options.use_alignment = world.options.use_contrast = false;
  const PackedBatch part = world.Part(kUsers, 1, 2);
  EXPECT_EQ(part.whole.alignment_reads, (std::vector<int32_t>{0, 0}));
  EXPECT_EQ(part.whole.counted_tokens, world.Whole(kUsers).counted_tokens());
}

TEST(StepShare, UsersAreSharedOutEvenlyByTokens) {
  const SharedWorld world;
  std::vector<int32_t> users(30);
  for (int32_t user = 0; user < 30; ++user) users[static_cast<size_t>(user)] = user;
  const auto tokens = [&](int32_t rank) {
    return static_cast<double>(world.Part(users, rank, 3).counted_tokens());
  };
  const double most = std::max({tokens(0), tokens(1), tokens(2)});
  EXPECT_GT(std::min({tokens(0), tokens(1), tokens(2)}), 0.9 * most);
}

TEST(StepShare, RanksWithoutUsersHaveAnEmptyBatch) {
  const SharedWorld world;
  std::set<int32_t> with_users;
  for (int32_t rank = 0; rank < 5; ++rank) {
    const PackedBatch part = world.Part({3, 9}, rank, 5);
    if (!part.tokens.empty()) with_users.insert(rank);
    EXPECT_EQ(part.tokens.empty(), part.user_ids.empty());
    EXPECT_FALSE(part.whole.user_ids.empty());
  }
  EXPECT_EQ(with_users, (std::set<int32_t>{0, 1}));
}

}  // namespace
}  // namespace mixrec::data
