// Orders, subsets and samples; pack.cc lays them out.
#include "data/batcher.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "common/log.h"
#include "common/random.h"

namespace mixrec::data {
namespace {

void Shuffle(uint64_t key, std::vector<int32_t>* values) {
  RandomStream random(key);
  for (size_t i = values->size(); i > 1; --i) {
    std::swap((*values)[i - 1], (*values)[random.Below(i)]);
  }
}

// `count` of 0..range-1 without replacement, ascending (Floyd's algorithm).
std::vector<int32_t> Choose(size_t count, size_t range, RandomStream* random) {
  std::vector<int32_t> chosen;
  for (size_t top = range - count; top < range; ++top) {
    const auto value = static_cast<int32_t>(random->Below(top + 1));
    const bool taken = std::find(chosen.begin(), chosen.end(), value) != chosen.end();
    chosen.push_back(taken ? static_cast<int32_t>(top) : value);
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

// Contrastive queries and negatives: paper Sec. 2.4, model.md D27.
void DrawQueries(absl::Span<const int32_t> training_items, const HardSampleSource& hard_samples,
                 const BatchOptions& options, int64_t epoch, UserSamples* samples) {
  RandomStream random(HashKey(options.seed, "contrast", static_cast<uint64_t>(epoch),
                              static_cast<uint64_t>(samples->user)));
  const size_t inputs = std::min(training_items.size() - 1, static_cast<size_t>(options.max_items));
  const size_t first = training_items.size() - 1 - inputs;
  const size_t count = std::min(inputs, static_cast<size_t>(options.queries_per_user));
  samples->queries = Choose(count, inputs, &random);
  for (const int32_t position : samples->queries) {
    const int32_t positive = training_items[first + static_cast<size_t>(position) + 1];
    samples->positives.push_back(positive);
    hard_samples.Draw(positive, options.negatives, &random, &samples->negatives);
  }
}

// One uniform negative outside S for each item of S (D24); none when S holds the whole catalogue.
void DrawPairs(absl::Span<const int32_t> training_items, int32_t items, const BatchOptions& options,
               int64_t epoch, UserSamples* samples) {
  RandomStream random(HashKey(options.seed, "bpr", static_cast<uint64_t>(epoch),
                              static_cast<uint64_t>(samples->user)));
  std::vector<int32_t> own(training_items.begin(), training_items.end());
  std::sort(own.begin(), own.end());
  own.erase(std::unique(own.begin(), own.end()), own.end());
  const size_t outside = static_cast<size_t>(items) - own.size();
  if (outside == 0) return;
  for (const int32_t positive : training_items) {
    // The k-th item outside S, found by stepping over the members of S below it.
    auto negative = static_cast<int32_t>(random.Below(outside));
    for (const int32_t member : own) {
      if (member > negative) break;
      ++negative;
    }
    samples->bpr_positives.push_back(positive);
    samples->bpr_negatives.push_back(negative);
  }
}

}  // namespace

std::vector<int32_t> EpochOrder(uint64_t seed, int64_t epoch, absl::Span<const int32_t> users) {
  std::vector<int32_t> order(users.begin(), users.end());
  Shuffle(HashKey(seed, "epoch order", static_cast<uint64_t>(epoch)), &order);
  return order;
}

StepSamples SampleStep(const Dataset& dataset, const HardSampleSource& hard_samples,
                       const BatchOptions& options, int64_t epoch,
                       absl::Span<const int32_t> users) {
  CHECK(options.use_alignment || !options.use_contrast) << "the contrast reads alignment documents";
  StepSamples step;
  for (const int32_t user : users) {
    const auto training_items = dataset.training_items(user);
    CHECK_GE(training_items.size(), 2u) << "user " << user << " has nothing to train on";
    UserSamples samples;
    samples.user = user;
    step.targets += static_cast<int64_t>(
        std::min(training_items.size() - 1, static_cast<size_t>(options.max_items)));
    if (options.use_alignment) {
      DrawQueries(training_items, hard_samples, options, epoch, &samples);
      for (const auto* items : {&samples.positives, &samples.negatives}) {
        step.aligned_items.insert(step.aligned_items.end(), items->begin(), items->end());
      }
      if (options.use_contrast) step.queries += static_cast<int64_t>(samples.queries.size());
    }
    if (options.use_cf) DrawPairs(training_items, dataset.items(), options, epoch, &samples);
    step.pairs += static_cast<int64_t>(samples.bpr_positives.size());
    step.users.push_back(std::move(samples));
  }
  std::sort(step.aligned_items.begin(), step.aligned_items.end());
  step.aligned_items.erase(std::unique(step.aligned_items.begin(), step.aligned_items.end()),
                           step.aligned_items.end());
  return step;
}

PackedBatch BuildTrainingBatch(const Dataset& dataset, const Catalogue& catalogue,
                               const HardSampleSource& hard_samples, const BatchOptions& options,
                               int64_t epoch, absl::Span<const int32_t> users) {
  return PackStep(dataset, catalogue, options,
                  SampleStep(dataset, hard_samples, options, epoch, users));
}

int64_t SequenceTokens(const Catalogue& catalogue, absl::Span<const int32_t> items) {
  auto tokens = static_cast<int64_t>(items.size());
  for (const int32_t item : items) {
    tokens += static_cast<int64_t>(catalogue.item_tokens(item).size());
  }
  return tokens;
}

std::vector<std::vector<int32_t>> PlanBatchesByTokens(absl::Span<const int64_t> lengths,
                                                      int64_t max_tokens) {
  std::vector<int32_t> order(lengths.size());
  std::iota(order.begin(), order.end(), 0);
  const auto length = [&](int32_t index) { return lengths[static_cast<size_t>(index)]; };
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return length(a) > length(b); });
  std::vector<std::vector<int32_t>> batches;
  int64_t tokens = 0;
  for (const int32_t index : order) {
    if (batches.empty() || tokens + length(index) > max_tokens) {
      batches.emplace_back();
      tokens = 0;
    }
    batches.back().push_back(index);
    tokens += length(index);
  }
  return batches;
}

std::vector<int32_t> SampleUsers(uint64_t seed, double fraction, absl::Span<const int32_t> users) {
  CHECK(fraction > 0 && fraction <= 1) << "a fraction of the users in (0, 1], found " << fraction;
  std::vector<int32_t> chosen(users.begin(), users.end());
  if (fraction == 1 || chosen.empty()) {
    std::sort(chosen.begin(), chosen.end());
    return chosen;
  }
  Shuffle(HashKey(seed, "user subset"), &chosen);
  const double wanted = std::round(fraction * static_cast<double>(users.size()));
  chosen.resize(static_cast<size_t>(std::max(1.0, wanted)));
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

}  // namespace mixrec::data
