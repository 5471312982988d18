#include "model/stream.h"

#include <algorithm>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/log.h"
#include "common/random.h"
#include "model/layout_lists.h"

namespace mixrec::model {
namespace {

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

// Where the next list of a buffer starts; every list starts at a multiple of 16 bytes.
int64_t Advance(int64_t offset, int64_t bytes) { return (offset + bytes + 15) / 16 * 16; }

template <typename T>
std::vector<T> Concatenated(const std::vector<T>& first, const std::vector<T>& second) {
  std::vector<T> both = first;
  both.insert(both.end(), second.begin(), second.end());
  return both;
}

// 64 bits, as tensors index.
std::vector<int64_t> Wide(const std::vector<int32_t>& list) { return {list.begin(), list.end()}; }

int64_t LastOrZero(const std::vector<int64_t>& list) { return list.empty() ? 0 : list.back(); }

}  // namespace

struct StreamLists::Lists {
  Stream scalars;  // its plain numbers
  LayoutLists all, read;
  std::vector<int64_t> words, position_rows, special_rows, special_kinds, read_rows;
  std::vector<float> sequence_specials, alignment_specials;
  std::vector<int64_t> all_keys, read_keys;
  std::vector<int64_t> labels, cl_query, cl_candidates;
  std::vector<int64_t> bpr_user, bpr_positive, bpr_negative, user_ids, item_ids;
  std::vector<float> sequence_weights, alignment_weights, cl_weights, bpr_weights;

  Lists(const data::PackedBatch& batch, int64_t vocab_size, const ModelOptions& options,
        DropoutKey dropout, bool training) {
    AddTokens(batch, vocab_size);
    AddReads(batch, options);
    if (training && options.dropout > 0.0) {
      all_keys = DropoutKeys(batch, dropout);
      for (const int64_t row : read_rows) read_keys.push_back(all_keys[static_cast<size_t>(row)]);
    }
    AddLosses(batch);
    scalars.user_columns = options.user_columns() ? batch.user_columns : 0;
    scalars.item_columns = options.item_columns() ? batch.item_columns : 0;
    scalars.all.prompt_rows = scalars.read.prompt_rows = batch.prompt_tokens;
  }

  void AddTokens(const data::PackedBatch& batch, int64_t vocab_size) {
    scalars.rows = static_cast<int64_t>(batch.tokens.size());
    words = Wide(batch.tokens);
    position_rows = Wide(batch.positions);
    for (size_t row = 0; row < words.size(); ++row) {
      position_rows[row] += 2;
      if (words[row] < vocab_size) continue;
      CHECK_LE(words[row], vocab_size + 1) << "token outside the vocabulary";
      const bool alignment = words[row] > vocab_size;
      special_rows.push_back(static_cast<int64_t>(row));
      special_kinds.push_back(alignment ? 1 : 0);
      sequence_specials.push_back(alignment ? 0.0f : 1.0f);
      alignment_specials.push_back(alignment ? 1.0f : 0.0f);
      words[row] = 0;
    }
  }

  void AddReads(const data::PackedBatch& batch, const ModelOptions& options) {
    std::vector<int32_t> every(batch.tokens.size());
    std::iota(every.begin(), every.end(), 0);
    const std::vector<int32_t> reads = Concatenated(batch.sequence_rows, batch.alignment_rows);
    scalars.sequence_reads = static_cast<int64_t>(batch.sequence_rows.size());
    scalars.alignment_reads = static_cast<int64_t>(batch.alignment_rows.size());
    read_rows = Wide(reads);
    all = MakeLayout(batch, std::move(every), options);
    read = MakeLayout(batch, reads, options);
  }

  // Batches of an evaluation have reads without labels.
  void AddLosses(const data::PackedBatch& batch) {
    const auto reads = static_cast<size_t>(scalars.sequence_reads);
    const size_t all_reads = read_rows.size();
    labels = Wide(Concatenated(batch.targets, batch.alignment_items));
    labels.resize(all_reads, 0);
    sequence_weights = batch.sequence_weights;
    sequence_weights.resize(all_reads, 0.0f);
    alignment_weights.assign(reads, 0.0f);
    alignment_weights.insert(alignment_weights.end(), batch.alignment_weights.begin(),
                             batch.alignment_weights.end());
    alignment_weights.resize(all_reads, 0.0f);
    const auto negatives = static_cast<size_t>(batch.negatives_per_query);
    scalars.negatives = batch.negatives_per_query;
    cl_query = Wide(batch.cl_query);
    for (size_t query = 0; query < batch.cl_query.size(); ++query) {
      cl_candidates.push_back(scalars.sequence_reads + batch.cl_positive[query]);
      for (size_t i = 0; i < negatives; ++i) {
        cl_candidates.push_back(scalars.sequence_reads + batch.cl_negative[query * negatives + i]);
      }
    }
    cl_weights = batch.cl_weights;
    bpr_user = Wide(batch.bpr_user);
    bpr_positive = Wide(batch.bpr_positive);
    bpr_negative = Wide(batch.bpr_negative);
    bpr_weights = batch.bpr_weights;
    user_ids = Wide(batch.user_ids);
    item_ids = Wide(batch.item_ids);
  }

  // visit(list, numbers of a record if the length varies within a shape, or 0, what padding holds,
  // place in the stream), for every list in a fixed order.
  template <typename Visit>
  void ForEach(Visit visit) const {
    ForEachOf(
        all, [](Stream* s) { return &s->all; }, visit);
    ForEachOf(
        read, [](Stream* s) { return &s->read; }, visit);
    visit(words, 0, int64_t{0}, [](Stream* s) { return &s->words; });
    visit(position_rows, 0, int64_t{0}, [](Stream* s) { return &s->position_rows; });
    visit(special_rows, 1, LastOrZero(special_rows), [](Stream* s) { return &s->special_rows; });
    visit(special_kinds, 1, LastOrZero(special_kinds), [](Stream* s) { return &s->special_kinds; });
    visit(sequence_specials, 1, 0.0f, [](Stream* s) { return &s->sequence_specials; });
    visit(alignment_specials, 1, 0.0f, [](Stream* s) { return &s->alignment_specials; });
    visit(read_rows, 0, int64_t{0}, [](Stream* s) { return &s->read_rows; });
    visit(all_keys, 0, int64_t{0}, [](Stream* s) { return &s->all_keys; });
    visit(read_keys, 0, int64_t{0}, [](Stream* s) { return &s->read_keys; });
    visit(labels, 0, int64_t{0}, [](Stream* s) { return &s->labels; });
    visit(sequence_weights, 0, 0.0f, [](Stream* s) { return &s->sequence_weights; });
    visit(alignment_weights, 0, 0.0f, [](Stream* s) { return &s->alignment_weights; });
    visit(cl_query, 0, int64_t{0}, [](Stream* s) { return &s->cl_query; });
    visit(cl_candidates, 0, int64_t{0}, [](Stream* s) { return &s->cl_candidates; });
    visit(cl_weights, 0, 0.0f, [](Stream* s) { return &s->cl_weights; });
    visit(bpr_user, 0, int64_t{0}, [](Stream* s) { return &s->bpr_user; });
    visit(bpr_positive, 0, int64_t{0}, [](Stream* s) { return &s->bpr_positive; });
    visit(bpr_negative, 0, int64_t{0}, [](Stream* s) { return &s->bpr_negative; });
    visit(bpr_weights, 0, 0.0f, [](Stream* s) { return &s->bpr_weights; });
    visit(user_ids, 0, int64_t{-1}, [](Stream* s) { return &s->user_ids; });
    visit(item_ids, 0, int64_t{-1}, [](Stream* s) { return &s->item_ids; });
  }

 private:
  // Empty segments, tiles and lists of tiles pad a layout.
  template <typename Layout, typename Visit>
  static void ForEachOf(const LayoutLists& lists, Layout layout, Visit visit) {
    const TileLists& tiles = lists.tiles;
    visit(lists.query_rows, 0, -1, [=](Stream* s) { return &layout(s)->query_rows; });
    visit(lists.causal, 5, -1, [=](Stream* s) { return &layout(s)->causal; });
    visit(lists.context, 6, -1, [=](Stream* s) { return &layout(s)->context; });
    visit(lists.query_document, 0, 0, [=](Stream* s) { return &layout(s)->query_document; });
    visit(lists.query_group, 0, 0, [=](Stream* s) { return &layout(s)->query_group; });
    visit(tiles.tiles, kTileFields, 0, [=](Stream* s) { return &layout(s)->tiles; });
    visit(tiles.key_tiles, 1, -1, [=](Stream* s) { return &layout(s)->key_tiles; });
    visit(tiles.shared_starts, 0, tiles.shared_starts.back(),
          [=](Stream* s) { return &layout(s)->shared_starts; });
    visit(tiles.shared_entries, 1, 0, [=](Stream* s) { return &layout(s)->shared_entries; });
  }
};

StreamLists::StreamLists(const data::PackedBatch& batch, int64_t vocab_size,
                         const ModelOptions& options, DropoutKey dropout, bool training)
    : lists_(std::make_unique<Lists>(batch, vocab_size, options, dropout, training)) {}
StreamLists::StreamLists(StreamLists&&) noexcept = default;
StreamLists& StreamLists::operator=(StreamLists&&) noexcept = default;
StreamLists::~StreamLists() = default;

std::vector<int64_t> StreamLists::Sizes() const {
  std::vector<int64_t> sizes;
  lists_->ForEach([&](const auto& list, int, auto, auto) {
    sizes.push_back(static_cast<int64_t>(list.size()));
  });
  return sizes;
}

std::vector<int64_t> StreamLists::RoomySizes() const {
  constexpr int64_t kUnit = 64;  // records
  std::vector<int64_t> sizes;
  lists_->ForEach([&](const auto& list, int record, auto, auto) {
    const auto size = static_cast<int64_t>(list.size());
    if (record == 0) return sizes.push_back(size);
    sizes.push_back((size / record * 9 / 8 + kUnit) / kUnit * kUnit * record);
  });
  return sizes;
}

int64_t StreamLists::Bytes(const std::vector<int64_t>& capacities) const {
  int64_t bytes = 0;
  size_t index = 0;
  lists_->ForEach([&](const auto& list, int, auto, auto) {
    bytes = Advance(bytes, capacities[index++] * static_cast<int64_t>(sizeof(list[0])));
  });
  return bytes;
}

void StreamLists::Write(const std::vector<int64_t>& capacities, void* buffer) const {
  int64_t offset = 0;
  size_t index = 0;
  lists_->ForEach([&](const auto& list, int, auto padding, auto) {
    const int64_t capacity = capacities[index++];
    CHECK_LE(static_cast<int64_t>(list.size()), capacity) << "list " << index << " of a stream";
    auto* to =
        reinterpret_cast<std::decay_t<decltype(list[0])>*>(static_cast<char*>(buffer) + offset);
    std::fill(std::copy(list.begin(), list.end(), to), to + capacity, padding);
    offset = Advance(offset, capacity * static_cast<int64_t>(sizeof(list[0])));
  });
}

Stream StreamLists::Over(const std::vector<int64_t>& capacities, const at::Tensor& buffer) const {
  Stream stream = lists_->scalars;
  int64_t offset = 0;
  size_t index = 0;
  lists_->ForEach([&](const auto& list, int, auto, auto place) {
    using Element = std::decay_t<decltype(list[0])>;
    const int64_t bytes = capacities[index++] * static_cast<int64_t>(sizeof(Element));
    *place(&stream) =
        buffer.narrow(0, offset, bytes).view(c10::CppTypeToScalarType<Element>::value);
    offset = Advance(offset, bytes);
  });
  for (AttentionLayout* layout : {&stream.all, &stream.read}) {
    layout->causal = layout->causal.view({-1, 5});
    layout->context = layout->context.view({-1, 6});
    layout->tiles = layout->tiles.view({-1, kTileFields});
  }
  stream.cl_candidates = stream.cl_candidates.view({stream.cl_query.numel(), stream.negatives + 1});
  if (stream.all_keys.numel() == 0) stream.all_keys = stream.read_keys = at::Tensor();
  return stream;
}

Stream MakeStream(const data::PackedBatch& batch, int64_t vocab_size, const ModelOptions& options,
                  DropoutKey dropout, bool training, at::Device device) {
  const StreamLists lists(batch, vocab_size, options, dropout, training);
  const std::vector<int64_t> sizes = lists.Sizes();
  const at::Tensor host = at::empty({lists.Bytes(sizes)}, at::kByte);
  lists.Write(sizes, host.data_ptr());
  return lists.Over(sizes, host.to(device));
}

}  // namespace mixrec::model
