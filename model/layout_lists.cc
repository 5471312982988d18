#include "model/layout_lists.h"

#include <algorithm>
#include <utility>

#include "common/log.h"

namespace mixrec::model {
namespace {

// Walks segments and queries, both ascending, and gives each segment its range of queries.
class QueryRanges {
 public:
  explicit QueryRanges(const std::vector<int32_t>& queries) : queries_(queries) {}
  std::pair<int32_t, int32_t> Next(int32_t row_begin, int32_t row_end, int32_t segment,
                                   std::vector<int32_t>* owner) {
    CHECK_EQ(row_begin, row_) << "documents and groups must tile the stream";
    CHECK_GE(row_end, row_begin);
    row_ = row_end;
    const int32_t begin = next_;
    while (next_ < static_cast<int32_t>(queries_.size()) && queries_[next_] < row_end) {
      owner->push_back(segment);
      ++next_;
    }
    return {begin, next_};
  }
  int32_t row() const { return row_; }

 private:
  const std::vector<int32_t>& queries_;
  int32_t next_ = 0, row_ = 0;
};

}  // namespace

LayoutLists MakeLayout(const data::PackedBatch& batch, std::vector<int32_t> queries,
                       const ModelOptions& options) {
  CHECK(std::is_sorted(queries.begin(), queries.end()));
  LayoutLists lists;
  QueryRanges documents(queries);
  for (size_t i = 0; i < batch.documents.size(); ++i) {
    const data::Document& document = batch.documents[i];
    const auto [first, last] = documents.Next(document.begin, document.end, static_cast<int32_t>(i),
                                              &lists.query_document);
    const int32_t sees_prompt =
        document.kind == data::DocumentKind::kAlignment && batch.prompt_tokens > 0 ? 1 : 0;
    lists.causal.insert(lists.causal.end(),
                        {first, last, document.begin, document.end, sees_prompt});
  }
  QueryRanges groups(queries);
  std::vector<int32_t> user_columns, item_columns;
  for (size_t i = 0; i < batch.groups.size(); ++i) {
    const data::Group& group = batch.groups[i];
    const auto [first, last] =
        groups.Next(group.begin, group.end, static_cast<int32_t>(i), &lists.query_group);
    const int32_t user = options.user_columns() ? group.user_column : -1;
    int32_t item = options.item_columns() ? group.item_column : -1;
    CHECK_LT(user, batch.user_columns);
    CHECK_LT(item, batch.item_columns);
    if (item >= 0 && options.user_columns()) item += batch.user_columns;
    lists.context.insert(lists.context.end(), {first, last, group.begin, group.end, user, item});
    user_columns.push_back(user);
    item_columns.push_back(item);
  }
  const int32_t rows = static_cast<int32_t>(batch.tokens.size());
  CHECK(documents.row() == rows && groups.row() == rows)
      << "every row needs a document and a group";
  lists.tiles = MakeTiles(batch, queries, user_columns, item_columns,
                          (options.user_columns() ? batch.user_columns : 0) +
                              (options.item_columns() ? batch.item_columns : 0));
  lists.query_rows = std::move(queries);
  return lists;
}

}  // namespace mixrec::model
