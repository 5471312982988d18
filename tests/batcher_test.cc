#include "data/batcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "tests/batch_fixture.h"

namespace mixrec::data {
namespace {

using ::testing::ElementsAre;

double Sum(const std::vector<float>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

TEST(Batcher, EveryRowBelongsToOneDocumentAndOneGroup) {
  const World world;
  const PackedBatch batch = world.Train(Options(), {3, 7, 1});
  const auto rows = static_cast<int32_t>(batch.tokens.size());
  ASSERT_EQ(batch.positions.size(), batch.tokens.size());
  int32_t row = 0;
  for (const Document& document : batch.documents) {
    EXPECT_EQ(document.begin, row);
    const int32_t first = document.kind == DocumentKind::kAlignment ? batch.prompt_tokens : 0;
    for (; row < document.end; ++row) {
      EXPECT_EQ(batch.positions[static_cast<size_t>(row)], first + row - document.begin);
    }
  }
  EXPECT_EQ(row, rows);
  row = 0;
  for (const Group& group : batch.groups) {
    EXPECT_EQ(group.begin, row);
    EXPECT_GT(group.end, group.begin);
    row = group.end;
  }
  EXPECT_EQ(row, rows);
  EXPECT_EQ(batch.documents[0].kind, DocumentKind::kPrompt);
  EXPECT_EQ(batch.prompt_tokens, 3);
  EXPECT_EQ(batch.groups[0].item_column, -1);
}

TEST(Batcher, InputsAreAllButTheLastOfSAndTargetsTheNextItems) {
  const World world;
  const PackedBatch batch = world.Train(Options(), {5});
  const auto items = world.dataset.training_items(5);
  ASSERT_EQ(batch.sequence_rows.size(), items.size() - 1);
  for (size_t k = 0; k + 1 < items.size(); ++k) {
    const auto row = static_cast<size_t>(batch.sequence_rows[k]);
    EXPECT_EQ(batch.tokens[row], kSeq);
    EXPECT_EQ(batch.tokens[row - 1], 10 + items[k]);  // the last token of the input item
    EXPECT_EQ(batch.targets[k], items[k + 1]);
    const Group& group = batch.groups[1 + k];
    EXPECT_EQ(group.end, batch.sequence_rows[k] + 1);
    EXPECT_EQ(batch.item_ids[static_cast<size_t>(group.item_column)], items[k]);
    EXPECT_EQ(batch.user_ids[static_cast<size_t>(group.user_column)], 5);
  }
}

TEST(Batcher, OnlyTheLastInputsAreTaken) {
  const World world;
  BatchOptions options = Options();
  options.max_items = 2;
  const int32_t user = 4;
  const auto items = world.dataset.training_items(user);
  ASSERT_GE(items.size(), 3u);
  const PackedBatch batch = world.Train(options, {user});
  EXPECT_EQ(batch.targets, (std::vector<int32_t>{items[items.size() - 2], items.back()}));
  for (const int32_t query : batch.cl_query) EXPECT_LT(query, 2);
}

TEST(Batcher, AlignedItemsAreExactlyTheUniquePositivesAndNegatives) {
  const World world;
  const std::vector<int32_t> users{0, 3, 6, 9, 12};
  const PackedBatch batch = world.Train(Options(), users);
  std::set<int32_t> needed;
  for (const auto& samples :
       SampleStep(world.dataset, world.hard_samples, Options(), 0, users).users) {
    needed.insert(samples.positives.begin(), samples.positives.end());
    needed.insert(samples.negatives.begin(), samples.negatives.end());
  }
  EXPECT_EQ(batch.alignment_items, std::vector<int32_t>(needed.begin(), needed.end()));
  for (size_t k = 0; k < batch.alignment_items.size(); ++k) {
    EXPECT_EQ(batch.tokens[static_cast<size_t>(batch.alignment_rows[k])], kAlign);
  }
  for (size_t c = 0; c < batch.cl_query.size(); ++c) {
    const auto query = static_cast<size_t>(batch.cl_query[c]);
    const auto positive = static_cast<size_t>(batch.cl_positive[c]);
    EXPECT_EQ(batch.alignment_items[positive], batch.targets[query]);
  }
  EXPECT_EQ(batch.cl_negative.size(), batch.cl_query.size() * 3);
}

TEST(Batcher, IdsAreUniqueAndColumnsComeFirst) {
  const World world;
  const PackedBatch batch = world.Train(Options(), {0, 3, 6, 9});
  EXPECT_EQ(std::set<int32_t>(batch.item_ids.begin(), batch.item_ids.end()).size(),
            batch.item_ids.size());
  EXPECT_EQ(batch.user_columns, 4);
  EXPECT_LE(batch.item_columns, static_cast<int32_t>(batch.item_ids.size()));
  int32_t largest = -1;
  for (const Group& group : batch.groups) largest = std::max(largest, group.item_column);
  EXPECT_EQ(largest, batch.item_columns - 1);
}

TEST(Batcher, WithoutInjectionThereAreNoColumnsButBprHasItsRows) {
  const World world;
  BatchOptions options = Options();
  options.inject_user = options.inject_item = false;
  const PackedBatch batch = world.Train(options, {0, 3});
  EXPECT_EQ(batch.user_columns, 0);
  EXPECT_EQ(batch.item_columns, 0);
  for (const Group& group : batch.groups) {
    EXPECT_EQ(group.user_column, -1);
    EXPECT_EQ(group.item_column, -1);
  }
  EXPECT_EQ(batch.user_ids, (std::vector<int32_t>{0, 3}));
  EXPECT_FALSE(batch.bpr_user.empty());
}

TEST(Batcher, WeightsOfAStepSumToOne) {
  const World world;
  const PackedBatch batch = world.Train(Options(), {0, 3, 6, 9, 12});
  for (const auto* weights :
       {&batch.sequence_weights, &batch.alignment_weights, &batch.cl_weights, &batch.bpr_weights}) {
    EXPECT_NEAR(Sum(*weights), 1, 1e-5);
  }
}

TEST(Batcher, RanksTogetherHoldTheStepOnce) {
  const World world;
  const BatchOptions options = Options();
  const std::vector<int32_t> users{0, 3, 6, 9, 12};
  const StepSamples samples = SampleStep(world.dataset, world.hard_samples, options, 0, users);
  const PackedBatch whole = PackStep(world.dataset, world.catalogue, options, samples);
  const std::vector<int32_t> rank_of_user{0, 1, 2, 0, 1};
  std::map<int32_t, double> item_weight;
  double sequence = 0, contrast = 0, pairs = 0;
  size_t documents = 0;
  for (int32_t rank = 0; rank < 4; ++rank) {  // rank 3 holds nothing
    const PackedBatch part =
        PackStep(world.dataset, world.catalogue, options, samples, rank_of_user, rank);
    sequence += Sum(part.sequence_weights);
    contrast += Sum(part.cl_weights);
    pairs += Sum(part.bpr_weights);
    documents += part.alignment_items.size();
    for (size_t k = 0; k < part.alignment_items.size(); ++k) {
      item_weight[part.alignment_items[k]] += part.alignment_weights[k];
    }
    if (rank == 3) {
      EXPECT_TRUE(part.tokens.empty());
    }
  }
  EXPECT_NEAR(sequence, 1, 1e-5);
  EXPECT_NEAR(contrast, 1, 1e-5);
  EXPECT_NEAR(pairs, 1, 1e-5);
  EXPECT_GT(documents, whole.alignment_items.size());  // some item is held twice
  ASSERT_EQ(item_weight.size(), whole.alignment_items.size());
  for (const auto& [item, weight] : item_weight) {
    EXPECT_NEAR(weight, 1. / static_cast<double>(item_weight.size()), 1e-6) << item;
  }
}

TEST(Batcher, WithoutAlignmentThereIsNeitherPromptNorDocument) {
  const World world;
  BatchOptions options = Options();
  options.use_alignment = options.use_contrast = false;
  const PackedBatch batch = world.Train(options, {0, 3});
  EXPECT_EQ(batch.prompt_tokens, 0);
  EXPECT_TRUE(batch.alignment_rows.empty());
  EXPECT_TRUE(batch.cl_query.empty());
  EXPECT_EQ(batch.documents.size(), 2u);
}

TEST(Batcher, WithoutContrastTheSameItemsAreAligned) {
  const World world;
  BatchOptions options = Options();
  const PackedBatch with = world.Train(options, {0, 3});
  options.use_contrast = false;
  const PackedBatch without = world.Train(options, {0, 3});
  EXPECT_EQ(with.alignment_items, without.alignment_items);
  EXPECT_TRUE(without.cl_query.empty());
}

TEST(Batcher, EvaluationReadsTheLastSequenceTokenOnly) {
  const World world;
  const std::vector<int32_t> first{4, 5, 4}, second{7};
  const std::vector<EvaluationQuery> queries{{2, first}, {-1, second}};
  const PackedBatch batch = BuildEvaluationBatch(world.catalogue, Options(), queries);
  ASSERT_EQ(batch.documents.size(), 2u);
  EXPECT_THAT(batch.sequence_rows,
              ElementsAre(batch.documents[0].end - 1, batch.documents[1].end - 1));
  EXPECT_TRUE(batch.targets.empty());
  EXPECT_TRUE(batch.alignment_rows.empty());
  EXPECT_EQ(batch.prompt_tokens, 0);
  EXPECT_THAT(batch.item_ids, ElementsAre(4, 5, 7));
  EXPECT_THAT(batch.user_ids, ElementsAre(2));
  EXPECT_EQ(batch.groups.back().user_column, -1);
  EXPECT_EQ(batch.documents[0].end, SequenceTokens(world.catalogue, first));
}

TEST(Batcher, PlannedBatchesHoldEverySequenceOnceWithinTheLimit) {
  RandomStream random(3);
  std::vector<int64_t> lengths(200);
  for (int64_t& length : lengths) length = 1 + static_cast<int64_t>(random.Below(120));
  std::vector<int> seen(lengths.size(), 0);
  for (const auto& batch : PlanBatchesByTokens(lengths, 100)) {
    int64_t tokens = 0;
    for (const int32_t index : batch) {
      ++seen[static_cast<size_t>(index)];
      tokens += lengths[static_cast<size_t>(index)];
    }
    EXPECT_TRUE(tokens <= 100 || batch.size() == 1);
  }
  EXPECT_THAT(seen, ::testing::Each(1));
  EXPECT_TRUE(PlanBatchesByTokens({}, 100).empty());
}

}  // namespace
}  // namespace mixrec::data
