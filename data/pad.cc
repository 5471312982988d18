#include "data/pad.h"

#include <algorithm>

#include "common/log.h"

namespace mixrec::data {
namespace {

constexpr int32_t kPaddingGroup = 31;  // rows: an item of the usual length

auto Tied(const BatchShape& s) {
  return std::tie(s.rows, s.reads, s.user_ids, s.item_ids, s.user_columns, s.item_columns,
                  s.queries, s.pairs);
}

// The next multiple of the power of two between value / parts and twice that, but of `smallest` at
// least.
int64_t RoundUp(int64_t value, int64_t smallest, int64_t parts = 32) {
  if (value == 0) return 0;
  int64_t unit = smallest;
  while (unit * parts <= value) unit *= 2;
  return (value + unit - 1) / unit * unit;
}

void AddPaddingRows(int64_t rows, PackedBatch* batch) {
  while (static_cast<int64_t>(batch->tokens.size()) < rows) {
    const auto begin = static_cast<int32_t>(batch->tokens.size());
    const int32_t count =
        static_cast<int32_t>(std::min<int64_t>(kPaddingGroup, rows - static_cast<int64_t>(begin)));
    for (int32_t i = 0; i < count; ++i) {
      batch->tokens.push_back(0);
      batch->positions.push_back(i);
    }
    batch->documents.push_back({begin, begin + count, DocumentKind::kSequence, -1});
    batch->groups.push_back({begin, begin + count, -1, -1});
  }
}

template <typename T>
void Resize(int64_t size, T fill, std::vector<T>* list) {
  list->resize(static_cast<size_t>(size), fill);
}

}  // namespace

bool BatchShape::operator==(const BatchShape& other) const { return Tied(*this) == Tied(other); }

bool BatchShape::FitsInto(const BatchShape& other) const {
  return rows <= other.rows && reads <= other.reads && other.reads - reads <= other.rows - rows &&
         user_ids <= other.user_ids && item_ids <= other.item_ids &&
         user_columns <= other.user_columns && item_columns <= other.item_columns &&
         queries <= other.queries && pairs <= other.pairs && other.user_columns <= other.user_ids &&
         other.item_columns <= other.item_ids;
}

BatchShape ShapeOf(const PackedBatch& batch) {
  const auto size = [](const auto& list) { return static_cast<int64_t>(list.size()); };
  return {size(batch.tokens),   size(batch.sequence_rows) + size(batch.alignment_rows),
          size(batch.user_ids), size(batch.item_ids),
          batch.user_columns,   batch.item_columns,
          size(batch.cl_query), size(batch.bpr_user)};
}

BatchShape RoundUp(const BatchShape& shape) {
  BatchShape to;
  to.reads = RoundUp(shape.reads, 32);
  to.rows = RoundUp(shape.rows + to.reads - shape.reads, 64, 64);
  to.user_columns = RoundUp(shape.user_columns, 8);
  to.item_columns = RoundUp(shape.item_columns, 64);
  to.user_ids = std::max(to.user_columns, RoundUp(shape.user_ids, 8));
  to.item_ids = std::max(to.item_columns, RoundUp(shape.item_ids, 64));
  to.queries = RoundUp(shape.queries, 8);
  to.pairs = RoundUp(shape.pairs, 32);
  return to;
}

PackedBatch PadBatch(PackedBatch batch, const BatchShape& shape) {
  const BatchShape from = ShapeOf(batch);
  CHECK(from.FitsInto(shape)) << "a batch of " << from.rows << " rows and " << from.reads
                              << " reads does not fit";
  AddPaddingRows(shape.rows, &batch);
  for (int64_t i = 0; i < shape.reads - from.reads; ++i) {
    batch.alignment_rows.push_back(static_cast<int32_t>(from.rows + i));
    batch.alignment_items.push_back(0);
    batch.alignment_weights.push_back(0.0f);
  }
  Resize(shape.user_ids, -1, &batch.user_ids);
  Resize(shape.item_ids, -1, &batch.item_ids);
  batch.user_columns = static_cast<int32_t>(shape.user_columns);
  batch.item_columns = static_cast<int32_t>(shape.item_columns);
  Resize(shape.queries, 0, &batch.cl_query);
  Resize(shape.queries, 0, &batch.cl_positive);
  Resize(shape.queries * batch.negatives_per_query, 0, &batch.cl_negative);
  Resize(shape.queries, 0.0f, &batch.cl_weights);
  Resize(shape.pairs, 0, &batch.bpr_user);
  Resize(shape.pairs, 0, &batch.bpr_positive);
  Resize(shape.pairs, 0, &batch.bpr_negative);
  Resize(shape.pairs, 0.0f, &batch.bpr_weights);
  return batch;
}

}  // namespace mixrec::data
