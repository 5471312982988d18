// Attention on the GPU against the CPU implementation, on random packed streams.
#include <algorithm>
#include <string>
#include <vector>

#include "common/random.h"
#include "model/attention_tiles.h"
#include "model/kernels.h"
#include "tests/kernels_cuda_fixture.h"

namespace mixrec::model {
namespace {

struct StreamShape {
  int64_t heads = 4, head_width = 8;
  int prompt_rows = 0;
  std::vector<int> sequences, alignments;  // rows of each document
  int columns = 0;
  bool context = true;
  bool trimmed = false;  // queries are a few rows only, some groups have none
};

struct Segments {
  std::vector<int32_t> fields, owner;
  int width;
  at::Tensor Table() const {
    return at::tensor(fields, at::kInt).view({static_cast<int64_t>(fields.size()) / width, width});
  }
  // Appends the segment of rows [begin, end) and its queries.
  void Add(const std::vector<int32_t>& queries, int begin, int end,
           const std::vector<int32_t>& rest) {
    const auto first = std::lower_bound(queries.begin(), queries.end(), begin) - queries.begin();
    const auto last = std::lower_bound(queries.begin(), queries.end(), end) - queries.begin();
    const auto index = static_cast<int32_t>(fields.size() / width);
    owner.insert(owner.end(), static_cast<size_t>(last - first), index);
    fields.insert(fields.end(),
                  {static_cast<int32_t>(first), static_cast<int32_t>(last), begin, end});
    fields.insert(fields.end(), rest.begin(), rest.end());
  }
};

// `item_rows`: rows of every group but the last of a document; 0: random ones.
AttentionLayout MakeLayout(const StreamShape& shape, int item_rows, int64_t* rows) {
  RandomStream random(HashKey(7, "layout"));
  const auto below = [&](int bound) { return static_cast<int>(random.Next() % bound); };
  std::vector<int> documents = {shape.prompt_rows};
  documents.insert(documents.end(), shape.sequences.begin(), shape.sequences.end());
  documents.insert(documents.end(), shape.alignments.begin(), shape.alignments.end());
  int total = 0;
  for (const int length : documents) total += length;
  *rows = total;
  std::vector<int32_t> queries;
  for (int row = 0; row < total; ++row) {
    if (!shape.trimmed || below(9) == 0) queries.push_back(row);
  }
  Segments causal{{}, {}, 5}, context{{}, {}, 6};
  data::PackedBatch batch;
  batch.prompt_tokens = shape.prompt_rows;
  std::vector<int32_t> user_columns, item_columns;
  int begin = 0;
  for (size_t d = 0; d < documents.size(); ++d) {
    const int end = begin + documents[d];
    if (begin == end) continue;
    const bool alignment = d > shape.sequences.size();
    causal.Add(queries, begin, end, {alignment && shape.prompt_rows > 0 ? 1 : 0});
    const auto kind = alignment ? data::DocumentKind::kAlignment : data::DocumentKind::kSequence;
    batch.documents.push_back({begin, end, kind, -1});
    const int32_t user = shape.columns > 0 && !alignment && d > 0 ? below(shape.columns) : -1;
    for (int row = begin; row < end;) {
      const int length = item_rows > 0 ? item_rows : 1 + below(45);
      const int next = d == 0 ? end : std::min(end, row + length);
      const int32_t item = shape.columns > 0 && d > 0 ? below(shape.columns + 1) - 1 : -1;
      batch.groups.push_back({row, next, -1, -1});
      user_columns.push_back(below(4) == 0 ? -1 : user);
      item_columns.push_back(item);
      context.Add(queries, row, next, {user_columns.back(), item});
      row = next;
    }
    begin = end;
  }
  AttentionLayout layout;
  layout.query_rows = at::tensor(queries, at::kInt);
  layout.causal = causal.Table();
  layout.context = context.Table();
  layout.query_document = at::tensor(causal.owner, at::kInt);
  layout.query_group = at::tensor(context.owner, at::kInt);
  layout.prompt_rows = shape.prompt_rows;
  const TileLists lists =
      MakeTiles(batch, queries, user_columns, item_columns, static_cast<int32_t>(shape.columns));
  layout.tiles = at::tensor(lists.tiles, at::kInt).view({-1, kTileFields});
  layout.key_tiles = at::tensor(lists.key_tiles, at::kInt);
  layout.shared_starts = at::tensor(lists.shared_starts, at::kInt);
  layout.shared_entries = at::tensor(lists.shared_entries, at::kInt);
  return layout;
}

// q, k, v are views of one [T, 3D] buffer (or q stands alone when trimmed), and so are their
// gradients, filled with NaN before.
NamedTensors RunAttention(const Lane& lane, const StreamShape& shape, const AttentionLayout& host,
                          const at::Tensor& qkv, const at::Tensor& columns,
                          const at::Tensor& d_out) {
  const int64_t width = shape.heads * shape.head_width, rows = qkv.size(0);
  AttentionLayout layout = host;
  for (at::Tensor* tensor : {&layout.query_rows, &layout.causal, &layout.context,
                             &layout.query_document, &layout.query_group, &layout.tiles,
                             &layout.key_tiles, &layout.shared_starts, &layout.shared_entries}) {
    *tensor = lane.Exactly(*tensor);
  }
  const at::Tensor buffer = lane.Copy(qkv), column_buffer = lane.Copy(columns);
  const at::Tensor d_buffer = lane.Poisoned({rows, 3 * width});
  const at::Tensor d_columns = lane.Poisoned(columns.sizes());
  const int64_t queries = layout.query_rows.numel(), kinds = shape.context ? 2 : 1;
  AttentionInputs inputs;
  AttentionGradients gradients;
  inputs.q = buffer.narrow(1, 0, width);
  gradients.q = d_buffer.narrow(1, 0, width);
  if (shape.trimmed) {
    inputs.q = inputs.q.index_select(0, layout.query_rows);
    gradients.q = lane.Poisoned({queries, width});
  }
  inputs.k = buffer.narrow(1, width, width);
  inputs.v = buffer.narrow(1, 2 * width, width);
  gradients.k = d_buffer.narrow(1, width, width);
  gradients.v = d_buffer.narrow(1, 2 * width, width);
  if (shape.columns > 0) {
    inputs.column_k = column_buffer.narrow(1, 0, width);
    inputs.column_v = column_buffer.narrow(1, width, width);
    gradients.column_k = d_columns.narrow(1, 0, width);
    gradients.column_v = d_columns.narrow(1, width, width);
  }
  inputs.heads = shape.heads;
  inputs.context = shape.context;
  const at::Tensor out = lane.Poisoned({kinds, queries, width});
  const at::Tensor log_sum_exp = lane.PoisonedFp32({kinds, queries, shape.heads});
  AttentionForward(inputs, layout, out, log_sum_exp);
  AttentionBackward(inputs, layout, out, log_sum_exp, lane.Copy(d_out), &gradients);
  NamedTensors results = {{"out", out},
                          {"log_sum_exp", log_sum_exp},
                          {"d_q", gradients.q},
                          {"d_k", gradients.k},
                          {"d_v", gradients.v}};
  if (shape.columns > 0) {
    results.emplace_back("d_column_k", gradients.column_k);
    results.emplace_back("d_column_v", gradients.column_v);
  }
  return results;
}

class AttentionCuda : public KernelsCuda {
 protected:
  void Check(const StreamShape& shape, int item_rows = 0) {
    const int64_t width = shape.heads * shape.head_width;
    int64_t rows = 0;
    const AttentionLayout layout = MakeLayout(shape, item_rows, &rows);
    const at::Tensor qkv = Random({rows, 3 * width});
    const at::Tensor columns = Random({shape.columns, 2 * width});
    const at::Tensor d_out = Random({shape.context ? 2 : 1, layout.query_rows.numel(), width});
    ExpectClose(RunAttention(cpu(), shape, layout, qkv, columns, d_out),
                RunAttention(gpu(), shape, layout, qkv, columns, d_out));
  }
};

TEST_P(AttentionCuda, EqualsCpuOnAMixedStream) {
  Check({12, 64, 9, {1, 124, 400, 33, 64}, {31, 5, 40, 32, 1}, 17, true, false});
}
TEST_P(AttentionCuda, EqualsCpuOnItemsOfTheUsualLength) {
  Check({12, 64, 9, {62, 31, 310}, std::vector<int>(20, 31), 25, true, false}, 31);
  Check({12, 64, 9, {62, 31, 310}, std::vector<int>(20, 31), 25, true, true}, 31);
}
TEST_P(AttentionCuda, EqualsCpuOnAPromptLongerThanAChunkOfSharedKeys) {
  Check({4, 64, 41, {62, 31}, {31, 20, 44}, 7, true, false});
}
TEST_P(AttentionCuda, EqualsCpuOnHeadsOfThirtyTwo) {
  Check({6, 32, 9, {124, 33}, {31, 5, 40}, 6, true, false});
}
TEST_P(AttentionCuda, EqualsCpuOnSmallHeads) {
  Check({4, 8, 9, {50, 7, 130}, {31, 12, 20}, 5, true, false});
}
TEST_P(AttentionCuda, EqualsCpuOnHeadsOfEightyAndOfAHundredAndTwentyEight) {
  Check({3, 80, 9, {70, 31}, {31, 20}, 4, true, false});
  Check({2, 128, 0, {70, 31}, {}, 4, true, false});
}
TEST_P(AttentionCuda, EqualsCpuOnOddHeadWidths) {
  Check({3, 5, 3, {20, 41}, {9, 9}, 3, true, false});
  Check({2, 130, 3, {20, 41}, {9, 9}, 3, true, false});
}
TEST_P(AttentionCuda, EqualsCpuWhenFewRowsAreQueries) {
  Check({8, 8, 9, {124, 300, 33}, {31, 5, 40, 32}, 11, true, true});
}
TEST_P(AttentionCuda, EqualsCpuWithoutColumns) {
  Check({4, 16, 9, {60, 90}, {31, 30}, 0, true, false});
}
TEST_P(AttentionCuda, EqualsCpuCausalOnly) {
  Check({4, 32, 9, {60, 90}, {31, 30}, 0, false, false});
}
TEST_P(AttentionCuda, EqualsCpuOnMoreQueriesThanAPromptChunk) {
  Check({2, 16, 9, std::vector<int>(20, 60), std::vector<int>(60, 31), 40, true, false});
}

INSTANTIATE_TEST_SUITE_P(Types, AttentionCuda, testing::Values(at::kFloat, at::kBFloat16),
                         TypeName);

}  // namespace
}  // namespace mixrec::model
