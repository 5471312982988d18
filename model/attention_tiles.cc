#include "model/attention_tiles.h"

#include <algorithm>
#include <utility>

#include "common/log.h"

namespace mixrec::model {
namespace {

class TileBuilder {
 public:
  TileBuilder(const std::vector<int32_t>& queries, int32_t prompt_rows, int32_t columns)
      : queries_(queries), prompt_rows_(prompt_rows), shared_(prompt_rows + columns) {}

  void BeginDocument(const data::Document& document) {
    document_begin_ = document.begin;
    prompt_ = document.kind == data::DocumentKind::kAlignment && prompt_rows_ > 0;
    first_tile_ = count();
  }
  void AddGroup(int32_t begin, int32_t end, int32_t user_column, int32_t item_column) {
    const int32_t group_tiles = count();
    for (int32_t row = begin; row < end; row += kTileRows) {
      const int32_t last = std::min(end, row + kTileRows);
      const int32_t whole = end - begin <= kTileRows ? 1 : 0;
      lists_.tiles.insert(
          lists_.tiles.end(),
          {FirstQuery(row), FirstQuery(last), row, last, document_begin_, begin, end,
           prompt_ ? 1 : 0, user_column, item_column, partial_, 0, group_tiles, whole, 0, 0});
      Share(user_column, item_column);
    }
  }
  void EndDocument() {
    for (int32_t tile = first_tile_; tile < count(); ++tile) {
      int32_t* fields = lists_.tiles.data() + static_cast<size_t>(tile) * kTileFields;
      fields[kTileDocumentTiles] = count();
      if (fields[kTileWhole] == 0 || tile + 1 < count()) lists_.key_tiles.push_back(tile);
    }
  }
  TileLists Take() {
    lists_.shared_starts.push_back(0);
    for (const std::vector<int32_t>& entries : shared_) {
      lists_.shared_entries.insert(lists_.shared_entries.end(), entries.begin(), entries.end());
      lists_.shared_starts.push_back(static_cast<int32_t>(lists_.shared_entries.size()));
    }
    return std::move(lists_);
  }

 private:
  int32_t count() const { return static_cast<int32_t>(lists_.tiles.size()) / kTileFields; }
  // The first query that stands on `row` or after it.
  int32_t FirstQuery(int32_t row) const {
    const auto found = std::lower_bound(queries_.begin(), queries_.end(), row);
    return static_cast<int32_t>(found - queries_.begin());
  }

  // The tile's partial rows, in the order of its shared keys: prompt, user column, item column.
  void Share(int32_t user_column, int32_t item_column) {
    for (int32_t row = 0; prompt_ && row < prompt_rows_; ++row) shared_[row].push_back(partial_++);
    for (const int32_t column : {user_column, item_column}) {
      if (column >= 0) shared_[static_cast<size_t>(prompt_rows_ + column)].push_back(partial_++);
    }
  }

  const std::vector<int32_t>& queries_;
  const int32_t prompt_rows_;
  std::vector<std::vector<int32_t>> shared_;  // entries of every shared row
  TileLists lists_;
  int32_t document_begin_ = 0, first_tile_ = 0, partial_ = 0;
  bool prompt_ = false;
};

// A batch's documents with their first groups, the longest first.
std::vector<std::pair<data::Document, size_t>> LongestFirst(const data::PackedBatch& batch) {
  std::vector<std::pair<data::Document, size_t>> documents;
  size_t group = 0;
  for (const data::Document& document : batch.documents) {
    documents.emplace_back(document, group);
    while (group < batch.groups.size() && batch.groups[group].begin < document.end) ++group;
  }
  std::stable_sort(documents.begin(), documents.end(), [](const auto& a, const auto& b) {
    return a.first.end - a.first.begin > b.first.end - b.first.begin;
  });
  return documents;
}

}  // namespace

TileLists MakeTiles(const data::PackedBatch& batch, const std::vector<int32_t>& queries,
                    const std::vector<int32_t>& user_columns,
                    const std::vector<int32_t>& item_columns, int32_t columns) {
  TileBuilder builder(queries, batch.prompt_tokens, columns);
  for (auto [document, group] : LongestFirst(batch)) {
    builder.BeginDocument(document);
    for (; group < batch.groups.size() && batch.groups[group].begin < document.end; ++group) {
      CHECK_LE(batch.groups[group].end, document.end) << "a group lies in one document";
      builder.AddGroup(batch.groups[group].begin, batch.groups[group].end, user_columns[group],
                       item_columns[group]);
    }
    builder.EndDocument();
  }
  return builder.Take();
}

}  // namespace mixrec::model
