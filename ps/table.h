// A shard's rows of one table with their optimiser state (ps.md). The same object serves a
// parameter server and, embedded, a worker.
//
// R rows asked for, E row width.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "ps/protocol.h"
#include "ps/shard_map.h"

namespace mixrec::ps {

// One thread at a time. On the CPU a row's weight and moments lie next to each other.
class Table {
 public:
  // Allocates and initialises the local rows: a function of (seed, part, row), the same for any
  // number of shards.
  Table(const TableSpec& spec, BucketRange buckets, at::Device device);

  const TableSpec& spec() const { return spec_; }
  const RowLayout& layout() const { return layout_; }
  int64_t bytes() const;

  // Whether every id is in the table and in this shard.
  bool Owns(absl::Span<const int32_t> ids) const;

  // Copies rows `ids` (owned) to `out` [R, E] in host memory.
  void Pull(absl::Span<const int32_t> ids, float* out) const;
  // One step of the optimiser on rows `ids`, which must be owned and distinct; `gradients` [R, E] in
  // host memory.
  void Push(absl::Span<const int32_t> ids, const float* gradients, double learning_rate);

 private:
  TableSpec spec_;
  RowLayout layout_;
};

}  // namespace mixrec::ps
