// Training and evaluation batches (packed_batch.h), and the orders and subsets of users.
//
// Everything random is a pure function of (seed, epoch, user): any number of ranks, or a resumed
// run, draws what one process would draw. Functions here may be called from any thread.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "data/catalogue.h"
#include "data/dataset.h"
#include "data/hard_samples.h"
#include "data/packed_batch.h"

namespace mixrec::data {

struct BatchOptions {
  uint64_t seed = 0;
  int max_items = 50;           // inputs of a sequence, the last ones (model.md D18)
  int queries_per_user = 1;     // n_s, contrastive queries of a sequence
  int negatives = 5;            // n_cl, negatives of a query
  bool inject_user = false;     // a column of the user for each of his sequence's rows
  bool inject_item = true;      // a column of the item for each of its rows
  bool use_alignment = true;    // false (no alignment documents) when lambda_align = lambda_cl = 0
  bool use_contrast = true;     // needs use_alignment; false: the same documents, no queries
  bool use_cf = true;           // BPR pairs
  int32_t sequence_token = 0;   // vocab_size of the model's word table
  int32_t alignment_token = 0;  // vocab_size + 1
};

// What is drawn for one user of a step.
struct UserSamples {
  int32_t user = 0;
  std::vector<int32_t> queries;        // [Q] input positions of the packed sequence, ascending
  std::vector<int32_t> positives;      // [Q] the item that follows
  std::vector<int32_t> negatives;      // [Q * n_cl] items
  std::vector<int32_t> bpr_positives;  // [B] items of S
  std::vector<int32_t> bpr_negatives;  // [B] items outside S
};

// One whole optimiser step over all ranks, with the denominators of its losses (model.md D26).
struct StepSamples {
  std::vector<UserSamples> users;
  std::vector<int32_t> aligned_items;  // unique positives and negatives, ascending
  int64_t targets = 0, queries = 0, pairs = 0;
};

// A permutation of `users` by seed and epoch.
std::vector<int32_t> EpochOrder(uint64_t seed, int64_t epoch, absl::Span<const int32_t> users);

// Draws a step for `users` (distinct, each with at least two training items).
StepSamples SampleStep(const Dataset& dataset, const HardSampleSource& hard_samples,
                       const BatchOptions& options, int64_t epoch, absl::Span<const int32_t> users);

// Packs the documents of the users that `rank` holds: rank_of_user[k] is the rank of
// samples.users[k]; an empty `rank_of_user` means that this rank holds all. Weights have the step's
// denominators, and an alignment document that m ranks hold weighs 1/m of its share, so that the
// ranks' losses add up to the step's.
PackedBatch PackStep(const Dataset& dataset, const Catalogue& catalogue,
                     const BatchOptions& options, const StepSamples& samples,
                     absl::Span<const int32_t> rank_of_user = {}, int32_t rank = 0);

// SampleStep and PackStep for one rank.
PackedBatch BuildTrainingBatch(const Dataset& dataset, const Catalogue& catalogue,
                               const HardSampleSource& hard_samples, const BatchOptions& options,
                               int64_t epoch, absl::Span<const int32_t> users);

// A sequence to be continued.
struct EvaluationQuery {
  int32_t user = -1;                // -1: not a user of the data set, so without a user column
  absl::Span<const int32_t> items;  // at least one, at most max_items
};

// Sequences only, in the order given; sequence_rows holds the last [SEQ] of each, targets and all
// weights are empty. Document ids are positions in `queries`.
PackedBatch BuildEvaluationBatch(const Catalogue& catalogue, const BatchOptions& options,
                                 absl::Span<const EvaluationQuery> queries);

// Rows that a sequence of these items takes: its tokens and one [SEQ] each.
int64_t SequenceTokens(const Catalogue& catalogue, absl::Span<const int32_t> items);

// Groups sequences, given their lengths in rows, into batches of at most `max_tokens` rows (a
// longer one is a batch of its own): similar lengths together, longest first, ties by index.
// Returns indices into `lengths`, each exactly once.
std::vector<std::vector<int32_t>> PlanBatchesByTokens(absl::Span<const int64_t> lengths,
                                                      int64_t max_tokens);

// A random `fraction` (0..1] of `users`, at least one of them, ascending: Data_BO (model.md D32).
std::vector<int32_t> SampleUsers(uint64_t seed, double fraction, absl::Span<const int32_t> users);

}  // namespace mixrec::data
