// Lays a step, or evaluation queries, out as one packed stream of tokens.
#include <algorithm>
#include <unordered_map>

#include "common/log.h"
#include "data/batcher.h"

namespace mixrec::data {
namespace {

// Numbers ids in the order in which they are first asked for.
class IdTable {
 public:
  explicit IdTable(std::vector<int32_t>* ids) : ids_(*ids) {}
  int32_t IndexOf(int32_t id) {
    const auto [found, is_new] = index_.try_emplace(id, static_cast<int32_t>(ids_.size()));
    if (is_new) ids_.push_back(id);
    return found->second;
  }

 private:
  std::vector<int32_t>& ids_;
  std::unordered_map<int32_t, int32_t> index_;
};

class StreamBuilder {
 public:
  StreamBuilder(const Catalogue& catalogue, const BatchOptions& options)
      : catalogue_(catalogue),
        options_(options),
        users_(&batch_.user_ids),
        items_(&batch_.item_ids) {}

  PackedBatch& batch() { return batch_; }
  IdTable& users() { return users_; }
  IdTable& items() { return items_; }

  void AddPrompt() {
    Begin(DocumentKind::kPrompt, 0);
    BeginGroup(-1, -1);
    AddTokens(catalogue_.prompt_tokens(), 0);
    EndGroup();
    End();
    batch_.prompt_tokens = rows();
  }

  // `read_all`: sequence_rows gets every [SEQ]; otherwise the last one only.
  void AddSequence(int32_t document_id, int32_t user, absl::Span<const int32_t> items,
                   bool read_all) {
    Begin(DocumentKind::kSequence, document_id);
    const int32_t begin = rows();
    const int32_t user_column = options_.inject_user && user >= 0 ? users_.IndexOf(user) : -1;
    for (size_t k = 0; k < items.size(); ++k) {
      BeginGroup(user_column, ItemColumn(items[k]));
      AddTokens(catalogue_.item_tokens(items[k]), rows() - begin);
      if (read_all || k + 1 == items.size()) batch_.sequence_rows.push_back(rows());
      AddToken(options_.sequence_token, rows() - begin);
      EndGroup();
    }
    End();
  }

  void AddAlignment(int32_t item) {
    Begin(DocumentKind::kAlignment, item);
    const int32_t shift = rows() - batch_.prompt_tokens;
    BeginGroup(-1, ItemColumn(item));
    AddTokens(catalogue_.item_tokens(item), rows() - shift);
    batch_.alignment_rows.push_back(rows());
    AddToken(options_.alignment_token, rows() - shift);
    EndGroup();
    End();
    batch_.alignment_items.push_back(item);
  }

  // What was numbered until now is a column; later ids serve BPR only.
  void EndColumns() {
    batch_.user_columns = static_cast<int32_t>(batch_.user_ids.size());
    batch_.item_columns = static_cast<int32_t>(batch_.item_ids.size());
  }

 private:
  int32_t rows() const { return static_cast<int32_t>(batch_.tokens.size()); }
  int32_t ItemColumn(int32_t item) { return options_.inject_item ? items_.IndexOf(item) : -1; }

  void Begin(DocumentKind kind, int32_t id) {
    batch_.documents.push_back({rows(), rows(), kind, id});
  }
  void End() { batch_.documents.back().end = rows(); }
  void BeginGroup(int32_t user_column, int32_t item_column) {
    batch_.groups.push_back({rows(), rows(), user_column, item_column});
  }
  void EndGroup() { batch_.groups.back().end = rows(); }

  void AddToken(int32_t token, int32_t position) {
    batch_.tokens.push_back(token);
    batch_.positions.push_back(position);
  }
  void AddTokens(absl::Span<const int32_t> tokens, int32_t position) {
    for (const int32_t token : tokens) AddToken(token, position++);
  }

  const Catalogue& catalogue_;
  const BatchOptions& options_;
  PackedBatch batch_;
  IdTable users_, items_;
};

// Which ranks need each aligned item, and whether this one does.
struct AlignmentHolders {
  std::vector<int32_t> ranks;  // [aligned_items] how many hold it
  std::vector<bool> mine;
};

AlignmentHolders FindHolders(const StepSamples& samples, absl::Span<const int32_t> rank_of_user,
                             int32_t rank) {
  std::vector<std::pair<int32_t, int32_t>> needs;  // (item, rank)
  for (size_t k = 0; k < samples.users.size(); ++k) {
    const int32_t owner = rank_of_user.empty() ? rank : rank_of_user[k];
    for (const auto* items : {&samples.users[k].positives, &samples.users[k].negatives}) {
      for (const int32_t item : *items) needs.emplace_back(item, owner);
    }
  }
  std::sort(needs.begin(), needs.end());
  needs.erase(std::unique(needs.begin(), needs.end()), needs.end());
  AlignmentHolders holders;
  holders.ranks.assign(samples.aligned_items.size(), 0);
  holders.mine.assign(samples.aligned_items.size(), false);
  size_t index = 0;  // both lists ascend by item
  for (const auto& [item, owner] : needs) {
    while (samples.aligned_items[index] != item) ++index;
    ++holders.ranks[index];
    if (owner == rank) holders.mine[index] = true;
  }
  return holders;
}

class StepPacker {
 public:
  StepPacker(const Dataset& dataset, const Catalogue& catalogue, const BatchOptions& options,
             const StepSamples& samples)
      : dataset_(dataset), options_(options), samples_(samples), stream_(catalogue, options) {}

  PackedBatch Pack(absl::Span<const int32_t> rank_of_user, int32_t rank) {
    CHECK(rank_of_user.empty() || rank_of_user.size() == samples_.users.size())
        << "one rank a user of the step";
    const AlignmentHolders holders = FindHolders(samples_, rank_of_user, rank);
    const bool aligns =
        std::find(holders.mine.begin(), holders.mine.end(), true) != holders.mine.end();
    if (aligns) stream_.AddPrompt();
    for (size_t k = 0; k < samples_.users.size(); ++k) {
      if (!rank_of_user.empty() && rank_of_user[k] != rank) continue;
      first_rows_.push_back(static_cast<int32_t>(stream_.batch().sequence_rows.size()));
      mine_.push_back(&samples_.users[k]);
      AddSequence(samples_.users[k]);
    }
    for (size_t k = 0; k < holders.mine.size(); ++k) {
      if (!holders.mine[k]) continue;
      stream_.AddAlignment(samples_.aligned_items[k]);
      const auto documents = static_cast<double>(samples_.aligned_items.size());
      stream_.batch().alignment_weights.push_back(
          static_cast<float>(1 / (documents * holders.ranks[k])));
    }
    stream_.EndColumns();
    if (options_.use_contrast) AddQueries();
    AddPairs();
    return std::move(stream_.batch());
  }

 private:
  void AddSequence(const UserSamples& samples) {
    const auto training_items = dataset_.training_items(samples.user);
    const size_t count =
        std::min(training_items.size() - 1, static_cast<size_t>(options_.max_items));
    const size_t first = training_items.size() - 1 - count;
    stream_.AddSequence(samples.user, samples.user, training_items.subspan(first, count), true);
    PackedBatch& batch = stream_.batch();
    const auto targets = training_items.subspan(first + 1, count);
    batch.targets.insert(batch.targets.end(), targets.begin(), targets.end());
    batch.sequence_weights.resize(batch.targets.size(),
                                  static_cast<float>(1 / static_cast<double>(samples_.targets)));
  }

  void AddQueries() {
    PackedBatch& batch = stream_.batch();
    batch.negatives_per_query = options_.negatives;
    const auto document_of = [&](int32_t item) {
      const auto found =
          std::lower_bound(batch.alignment_items.begin(), batch.alignment_items.end(), item);
      return static_cast<int32_t>(found - batch.alignment_items.begin());
    };
    for (size_t k = 0; k < mine_.size(); ++k) {
      for (const int32_t query : mine_[k]->queries) {
        batch.cl_query.push_back(first_rows_[k] + query);
      }
      for (const int32_t item : mine_[k]->positives) {
        batch.cl_positive.push_back(document_of(item));
      }
      for (const int32_t item : mine_[k]->negatives) {
        batch.cl_negative.push_back(document_of(item));
      }
    }
    batch.cl_weights.resize(batch.cl_query.size(),
                            static_cast<float>(1 / static_cast<double>(samples_.queries)));
  }

  void AddPairs() {
    PackedBatch& batch = stream_.batch();
    for (const UserSamples* samples : mine_) {
      for (size_t k = 0; k < samples->bpr_positives.size(); ++k) {
        batch.bpr_user.push_back(stream_.users().IndexOf(samples->user));
        batch.bpr_positive.push_back(stream_.items().IndexOf(samples->bpr_positives[k]));
        batch.bpr_negative.push_back(stream_.items().IndexOf(samples->bpr_negatives[k]));
      }
    }
    batch.bpr_weights.resize(batch.bpr_user.size(),
                             static_cast<float>(1 / static_cast<double>(samples_.pairs)));
  }

  const Dataset& dataset_;
  const BatchOptions& options_;
  const StepSamples& samples_;
  StreamBuilder stream_;
  std::vector<const UserSamples*> mine_;  // users of this rank, in stream order
  std::vector<int32_t> first_rows_;       // [mine] index of its first row in sequence_rows
};

}  // namespace

PackedBatch PackStep(const Dataset& dataset, const Catalogue& catalogue,
                     const BatchOptions& options, const StepSamples& samples,
                     absl::Span<const int32_t> rank_of_user, int32_t rank) {
  return StepPacker(dataset, catalogue, options, samples).Pack(rank_of_user, rank);
}

PackedBatch BuildEvaluationBatch(const Catalogue& catalogue, const BatchOptions& options,
                                 absl::Span<const EvaluationQuery> queries) {
  StreamBuilder stream(catalogue, options);
  for (size_t k = 0; k < queries.size(); ++k) {
    const absl::Span<const int32_t> items = queries[k].items;
    CHECK(!items.empty() && items.size() <= static_cast<size_t>(options.max_items))
        << "query " << k << " has " << items.size() << " items, expected 1 to "
        << options.max_items;
    stream.AddSequence(static_cast<int32_t>(k), queries[k].user, items, false);
  }
  stream.EndColumns();
  return std::move(stream.batch());
}

}  // namespace mixrec::data
