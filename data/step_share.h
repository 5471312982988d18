// A step shared out among the ranks of a worker group: who packs which users, and what all of them
// know of the whole. Pure functions of the step's samples, so that every rank finds the same.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "data/batcher.h"

namespace mixrec::data {

struct PackShare {
  int32_t rank = 0, ranks = 1;
};

// [users of the step] a rank for each: the longest first, to whoever has the fewest tokens, so that
// ranks finish together. With fewer users than ranks some ranks get none.
std::vector<int32_t> ShareUsers(const Dataset& dataset, const Catalogue& catalogue,
                                const BatchOptions& options, const StepSamples& samples,
                                int32_t ranks);

// `rank_of_user` as ShareUsers returns it.
WholeStep DescribeStep(const Dataset& dataset, const Catalogue& catalogue,
                       const BatchOptions& options, const StepSamples& samples,
                       absl::Span<const int32_t> rank_of_user, int32_t ranks);

// A rank's batch of a step: SampleStep for all users, PackStep for this rank's, with `whole`.
PackedBatch BuildSharedBatch(const Dataset& dataset, const Catalogue& catalogue,
                             const HardSampleSource& hard_samples, const BatchOptions& options,
                             int64_t epoch, absl::Span<const int32_t> users, PackShare share);

}  // namespace mixrec::data
