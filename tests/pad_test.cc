#include "data/pad.h"

#include <gtest/gtest.h>

namespace mixrec::data {
namespace {

// A batch of one document without losses.
PackedBatch Batch(int rows) {
  PackedBatch batch;
  for (int i = 0; i < rows; ++i) {
    batch.tokens.push_back(7);
    batch.positions.push_back(i);
  }
  batch.documents = {{0, rows, DocumentKind::kSequence, 3}};
  batch.groups = {{0, rows, -1, -1}};
  batch.sequence_rows = {rows - 1};
  batch.targets = {2};
  batch.sequence_weights = {1.0f};
  batch.user_ids = {4};
  batch.user_columns = 1;
  return batch;
}

TEST(Pad, ARoundedShapeHoldsTheBatchAndGrowsByLittle) {
  for (int rows = 1; rows < 5000; rows += 37) {
    const BatchShape shape = ShapeOf(Batch(rows)), rounded = RoundUp(shape);
    EXPECT_TRUE(shape.FitsInto(rounded)) << rows;
    EXPECT_LE(rounded.rows, rows + rows / 16 + 64 + rounded.reads) << rows;
    EXPECT_TRUE(rounded.FitsInto(RoundUp(rounded)));
  }
}

TEST(Pad, WhatIsNotThereStaysAway) {
  const BatchShape rounded = RoundUp(ShapeOf(Batch(10)));
  EXPECT_EQ(rounded.item_ids, 0);
  EXPECT_EQ(rounded.queries, 0);
  EXPECT_EQ(rounded.pairs, 0);
}

TEST(Pad, PaddingTilesTheRowsAndWeighsNothing) {
  const PackedBatch batch = Batch(100);
  const BatchShape shape = RoundUp(ShapeOf(batch));
  const PackedBatch padded = PadBatch(batch, shape);
  EXPECT_TRUE(ShapeOf(padded) == shape);
  int32_t row = 0;
  for (const Document& document : padded.documents) {
    EXPECT_EQ(document.begin, row);
    row = document.end;
  }
  EXPECT_EQ(row, shape.rows);
  ASSERT_EQ(padded.documents.size(), padded.groups.size());
  for (size_t i = 1; i < padded.groups.size(); ++i) {
    EXPECT_LE(padded.groups[i].end - padded.groups[i].begin, 31);
    EXPECT_EQ(padded.documents[i].id, -1);
  }
  for (const float weight : padded.alignment_weights) EXPECT_EQ(weight, 0.0f);
  for (size_t i = 0; i < padded.alignment_rows.size(); ++i) {
    EXPECT_EQ(padded.alignment_rows[i], 100 + static_cast<int32_t>(i));
  }
  EXPECT_EQ(padded.user_ids[0], 4);
  for (size_t i = 1; i < padded.user_ids.size(); ++i) EXPECT_EQ(padded.user_ids[i], -1);
}

}  // namespace
}  // namespace mixrec::data
