#include "data/step_share.h"

#include <algorithm>
#include <numeric>

#include "common/log.h"

namespace mixrec::data {
namespace {

// What the packed sequence of a user reads: all training items but the last, the last max_items.
absl::Span<const int32_t> InputsOf(const Dataset& dataset, const BatchOptions& options,
                                   int32_t user) {
  const auto items = dataset.training_items(user);
  const size_t count = std::min(items.size() - 1, static_cast<size_t>(options.max_items));
  return items.subspan(items.size() - 1 - count, count);
}

int64_t AlignmentTokens(const Catalogue& catalogue, int32_t item) {
  return static_cast<int64_t>(catalogue.item_tokens(item).size()) + 1;
}

void SortUnique(std::vector<int32_t>* values) {
  std::sort(values->begin(), values->end());
  values->erase(std::unique(values->begin(), values->end()), values->end());
}

void Append(absl::Span<const int32_t> more, std::vector<int32_t>* values) {
  values->insert(values->end(), more.begin(), more.end());
}

// Distinct items that a user's contrastive samples need aligned.
std::vector<int32_t> AlignedItems(const UserSamples& samples) {
  std::vector<int32_t> items = samples.positives;
  Append(samples.negatives, &items);
  SortUnique(&items);
  return items;
}

}  // namespace

std::vector<int32_t> ShareUsers(const Dataset& dataset, const Catalogue& catalogue,
                                const BatchOptions& options, const StepSamples& samples,
                                int32_t ranks) {
  const size_t users = samples.users.size();
  std::vector<int64_t> tokens(users);
  for (size_t k = 0; k < users; ++k) {
    const UserSamples& user = samples.users[k];
    tokens[k] = SequenceTokens(catalogue, InputsOf(dataset, options, user.user));
    for (const int32_t item : AlignedItems(user)) tokens[k] += AlignmentTokens(catalogue, item);
  }
  std::vector<size_t> order(users);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return tokens[a] > tokens[b]; });
  std::vector<int64_t> load(static_cast<size_t>(ranks), 0);
  std::vector<int32_t> rank_of_user(users);
  for (const size_t k : order) {
    const auto rank = std::min_element(load.begin(), load.end());
    rank_of_user[k] = static_cast<int32_t>(rank - load.begin());
    *rank += tokens[k];
  }
  return rank_of_user;
}

WholeStep DescribeStep(const Dataset& dataset, const Catalogue& catalogue,
                       const BatchOptions& options, const StepSamples& samples,
                       absl::Span<const int32_t> rank_of_user, int32_t ranks) {
  CHECK_EQ(rank_of_user.size(), samples.users.size());
  WholeStep whole;
  whole.sequence_reads.assign(static_cast<size_t>(ranks), 0);
  whole.alignment_reads.assign(static_cast<size_t>(ranks), 0);
  std::vector<std::vector<int32_t>> aligned(static_cast<size_t>(ranks));
  for (size_t k = 0; k < samples.users.size(); ++k) {
    const UserSamples& user = samples.users[k];
    const auto rank = static_cast<size_t>(rank_of_user[k]);
    const auto inputs = InputsOf(dataset, options, user.user);
    whole.sequence_reads[rank] += static_cast<int32_t>(inputs.size());
    whole.counted_tokens += SequenceTokens(catalogue, inputs);
    Append(AlignedItems(user), &aligned[rank]);
    if (options.inject_item) Append(inputs, &whole.item_ids);
    if (options.inject_user || !user.bpr_positives.empty()) whole.user_ids.push_back(user.user);
    Append(user.bpr_positives, &whole.item_ids);
    Append(user.bpr_negatives, &whole.item_ids);
  }
  for (size_t rank = 0; rank < aligned.size(); ++rank) {
    SortUnique(&aligned[rank]);
    whole.alignment_reads[rank] = static_cast<int32_t>(aligned[rank].size());
  }
  const auto prompt = static_cast<int64_t>(catalogue.prompt_tokens().size());
  for (const int32_t item : samples.aligned_items) {
    whole.counted_tokens += prompt + AlignmentTokens(catalogue, item);
  }
  if (options.inject_item) Append(samples.aligned_items, &whole.item_ids);
  SortUnique(&whole.user_ids);
  SortUnique(&whole.item_ids);
  return whole;
}

PackedBatch BuildSharedBatch(const Dataset& dataset, const Catalogue& catalogue,
                             const HardSampleSource& hard_samples, const BatchOptions& options,
                             int64_t epoch, absl::Span<const int32_t> users, PackShare share) {
  const StepSamples samples = SampleStep(dataset, hard_samples, options, epoch, users);
  const std::vector<int32_t> rank_of_user =
      ShareUsers(dataset, catalogue, options, samples, share.ranks);
  PackedBatch batch = PackStep(dataset, catalogue, options, samples, rank_of_user, share.rank);
  batch.whole = DescribeStep(dataset, catalogue, options, samples, rank_of_user, share.ranks);
  return batch;
}

}  // namespace mixrec::data
