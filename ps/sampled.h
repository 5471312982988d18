// Proposals of the sampled softmax (Jean et al. 2015), drawn from the whole vocabulary as a pure
// function of (seed, table, step): every shard draws the same and uses those it owns.
//
// I rows of the vocabulary.
#pragma once

#include <cstdint>
#include <vector>

#include "common/status.h"
#include "ps/protocol.h"
#include "ps/session.h"

namespace mixrec::ps {

// Whether a table goes with a softmax: exact ones want a dense table (every row moves), sampled
// ones a sparse table (the rows seen move), both contiguous ranges and a bias. UsageError
// otherwise.
absl::Status CheckSoftmax(const TableSpec& spec, const Sampling& sampling);

struct Proposals {
  std::vector<int64_t> rows;  // distinct, ascending
  // log of the probability that the row is among `sampling.count` draws: the correction of its
  // logit. A row that is seen with probability q counts 1/q times, so the sum over the vocabulary
  // is right on average; a state's label is always there, and uncorrected.
  std::vector<float> log_expected;
};

// Draws `sampling.count` times with replacement and drops repetitions. Row r has probability 1/I,
// or with `log_uniform` log((r + 2) / (r + 1)) / log(I + 1): for rows sorted by falling popularity.
// Returns the rows in [first, first + count).
Proposals DrawProposals(const TableSpec& spec, const Sampling& sampling, int64_t step,
                        int64_t first, int64_t count);

}  // namespace mixrec::ps
