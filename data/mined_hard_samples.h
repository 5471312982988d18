// Mined hard samples (paper Appendix A; model.md D28): the file that `mixrec mine` writes, and the
// source of negatives that training draws from. docs/hard_samples.md describes the format.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"
#include "data/block_file.h"
#include "data/dataset.h"
#include "data/hard_samples.h"

namespace mixrec::data {

// Ties sets to the items they were mined for: the data files, and which items the filter left in
// which order.
std::string ItemsHash(const Dataset& dataset);

// Writes the sets block by block; a stopped writer goes on at next_item().
class HardSampleWriter {
 public:
  // `settings` (JSON of an object) says how the sets are mined; it is part of what a half-written
  // file must agree with. Blocks hold `block_items` items each, the last one what is left.
  static absl::StatusOr<HardSampleWriter> Open(const std::string& path, const Dataset& dataset,
                                               int32_t block_items, const std::string& settings);

  // The first item whose set is not in the file; items() when all are.
  int32_t next_item() const;
  int32_t items() const { return items_; }
  // The sets of the items from next_item() on, each ascending: a whole block of them.
  absl::Status Append(const std::vector<std::vector<int32_t>>& sets);
  absl::Status Finish() { return writer_.Finish(); }

 private:
  HardSampleWriter(BlockFileWriter writer, int32_t items, int32_t block_items)
      : writer_(std::move(writer)), items_(items), block_items_(block_items) {}

  BlockFileWriter writer_;
  int32_t items_ = 0, block_items_ = 0;
};

struct HardSampleSizes {
  double mean = 0;
  int64_t smallest = 0, largest = 0;
  int64_t empty = 0;  // items without any
};

// The sets of a finished file. An item with fewer hard samples than are asked for gets all of them,
// then items drawn uniformly among those that never co-occur with it (model.md D27).
class MinedHardSamples : public HardSampleSource {
 public:
  // DataError when the file is damaged, or was made for other data or another filter. Keeps a
  // reference to the data set. The file stays mapped; 16 bytes of memory an item.
  static absl::StatusOr<std::unique_ptr<MinedHardSamples>> Load(const std::string& path,
                                                                const Dataset& dataset);

  void Draw(int32_t item, int count, RandomStream* random,
            std::vector<int32_t>* negatives) const override;

  // Ascending.
  std::vector<int32_t> SetOf(int32_t item) const;
  HardSampleSizes Sizes() const;
  // Items with fewer than `count` hard samples.
  int64_t ItemsWithFewerThan(int64_t count) const;
  const std::string& settings() const { return settings_; }
  const std::string& content_hash() const { return content_hash_; }

 private:
  explicit MinedHardSamples(const Dataset& dataset) : fallback_(dataset) {}
  absl::Status ReadBlock(std::string_view block, const std::string& place, int32_t items);

  BlockFile file_;
  std::vector<std::string_view> sets_;  // [items], encoded
  std::vector<int32_t> sizes_;          // [items]
  UniformNonCooccurring fallback_;
  std::string settings_, content_hash_;
};

}  // namespace mixrec::data
