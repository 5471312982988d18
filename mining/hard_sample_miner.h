// Hard samples of every item (paper Appendix A; model.md D28): the union of its nearest items in
// text space and in the space of the matrix factorisation, without every item that shares a
// training history with it (D35).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/status.h"
#include "data/dataset.h"
#include "data/hard_samples.h"
#include "mining/neighbours.h"

namespace mixrec::mining {

struct MiningOptions {
  double top_fraction = 0.005;  // of the items, in each space
  int64_t max_neighbours = 0;   // in each space, however many items there are; 0: no limit
  int32_t block_items = 512;    // searched, and written, at a time
  NeighbourOptions search;
  std::string settings = "{}";  // JSON for the file's header: what the vectors were made from
};

// round(top_fraction * items), between 1 and items - 1, at most max_neighbours.
int64_t NeighbourCount(int64_t items, const MiningOptions& options);

// Sets of the items [first, first + count), each ascending.
std::vector<std::vector<int32_t>> HardSampleSets(const NeighbourSearch& text,
                                                 const NeighbourSearch& latent,
                                                 const data::UniformNonCooccurring& cooccurrence,
                                                 int64_t first, int64_t count, int64_t neighbours);

// Mines all items from their text and latent vectors, [I, *] fp32 each, into the file `path`
// (data/mined_hard_samples.h), going on where a stopped run was. `progress` gets the items done,
// first those of earlier runs. Memory beyond the vectors (on a GPU, a copy of them there): some
// block_items * item_block floats.
absl::Status MineHardSamples(const data::Dataset& dataset, const at::Tensor& text_vectors,
                             const at::Tensor& latent_vectors, const MiningOptions& options,
                             const std::string& path,
                             const std::function<void(int64_t)>& progress = {});

}  // namespace mixrec::mining
