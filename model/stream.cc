#include "model/stream.h"

#include <algorithm>
#include <vector>

#include "common/log.h"
#include "common/random.h"

namespace mixrec::model {
namespace {

template <typename T>
at::Tensor ToDevice(const std::vector<T>& values, at::ScalarType type, at::Device device) {
  const at::Tensor host =
      at::from_blob(const_cast<T*>(values.data()), {static_cast<int64_t>(values.size())},
                    at::TensorOptions().dtype(c10::CppTypeToScalarType<T>::value));
  if (device.is_cpu()) return host.to(type, /*non_blocking=*/false, /*copy=*/true);
  return host.to(at::TensorOptions().dtype(type).device(device));
}

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

AttentionLayout MakeLayout(const data::PackedBatch& batch, const std::vector<int32_t>& queries,
                           const ModelOptions& options, at::Device device) {
  CHECK(std::is_sorted(queries.begin(), queries.end()));
  std::vector<int32_t> causal, context, query_document, query_group;
  QueryRanges documents(queries);
  for (size_t i = 0; i < batch.documents.size(); ++i) {
    const data::Document& document = batch.documents[i];
    const auto [first, last] =
        documents.Next(document.begin, document.end, static_cast<int32_t>(i), &query_document);
    const int32_t sees_prompt =
        document.kind == data::DocumentKind::kAlignment && batch.prompt_tokens > 0 ? 1 : 0;
    causal.insert(causal.end(), {first, last, document.begin, document.end, sees_prompt});
  }
  QueryRanges groups(queries);
  for (size_t i = 0; i < batch.groups.size(); ++i) {
    const data::Group& group = batch.groups[i];
    const auto [first, last] =
        groups.Next(group.begin, group.end, static_cast<int32_t>(i), &query_group);
    const int32_t user = options.user_columns() ? group.user_column : -1;
    int32_t item = options.item_columns() ? group.item_column : -1;
    CHECK_LT(user, batch.user_columns);
    CHECK_LT(item, batch.item_columns);
    if (item >= 0 && options.user_columns()) item += batch.user_columns;
    context.insert(context.end(), {first, last, group.begin, group.end, user, item});
  }
  const int32_t rows = static_cast<int32_t>(batch.tokens.size());
  CHECK(documents.row() == rows && groups.row() == rows)
      << "every row needs a document and a group";
  AttentionLayout layout;
  layout.query_rows = ToDevice(queries, at::kInt, device);
  layout.causal = ToDevice(causal, at::kInt, device).view({-1, 5});
  layout.context = ToDevice(context, at::kInt, device).view({-1, 6});
  layout.query_document = ToDevice(query_document, at::kInt, device);
  layout.query_group = ToDevice(query_group, at::kInt, device);
  layout.prompt_rows = batch.prompt_tokens;
  return layout;
}

std::vector<int64_t> DropoutKeys(const data::PackedBatch& batch, DropoutKey dropout) {
  std::vector<int64_t> keys(batch.tokens.size());
  for (const data::Document& document : batch.documents) {
    const uint64_t key =
        HashKey(dropout.seed, "dropout", static_cast<uint64_t>(dropout.step),
                static_cast<uint64_t>(document.kind), static_cast<uint64_t>(document.id));
    for (int32_t row = document.begin; row < document.end; ++row) {
      keys[row] = static_cast<int64_t>(HashKey(key, static_cast<uint64_t>(row - document.begin)));
    }
  }
  return keys;
}

}  // namespace

Stream MakeStream(const data::PackedBatch& batch, int64_t vocab_size, const ModelOptions& options,
                  DropoutKey dropout, bool training, at::Device device) {
  Stream stream;
  stream.rows = static_cast<int64_t>(batch.tokens.size());
  std::vector<int32_t> words = batch.tokens, positions = batch.positions, all(batch.tokens.size());
  std::vector<int64_t> sequence_tokens, alignment_tokens, special;
  for (size_t row = 0; row < words.size(); ++row) {
    all[row] = static_cast<int32_t>(row);
    positions[row] += 2;
    if (words[row] < vocab_size) continue;
    CHECK_LE(words[row], vocab_size + 1) << "token outside the vocabulary";
    (words[row] == vocab_size ? sequence_tokens : alignment_tokens)
        .push_back(static_cast<int64_t>(row));
    special.push_back(static_cast<int64_t>(row));
    words[row] = 0;
  }
  std::vector<int32_t> reads = batch.sequence_rows;
  reads.insert(reads.end(), batch.alignment_rows.begin(), batch.alignment_rows.end());
  stream.sequence_reads = static_cast<int64_t>(batch.sequence_rows.size());
  stream.alignment_reads = static_cast<int64_t>(batch.alignment_rows.size());
  stream.words = ToDevice(words, at::kLong, device);
  stream.position_rows = ToDevice(positions, at::kLong, device);
  stream.sequence_token_rows = ToDevice(sequence_tokens, at::kLong, device);
  stream.alignment_token_rows = ToDevice(alignment_tokens, at::kLong, device);
  stream.special_rows = ToDevice(special, at::kLong, device);
  stream.read_rows = ToDevice(reads, at::kLong, device);
  stream.all = MakeLayout(batch, all, options, device);
  stream.read = MakeLayout(batch, reads, options, device);
  stream.user_columns = options.user_columns() ? batch.user_columns : 0;
  stream.item_columns = options.item_columns() ? batch.item_columns : 0;
  if (training && options.dropout > 0.0) {
    stream.all_keys = ToDevice(DropoutKeys(batch, dropout), at::kLong, device);
    stream.read_keys = stream.all_keys.index_select(0, stream.read_rows);
  }
  return stream;
}

}  // namespace mixrec::model
