#include "data/mined_hard_samples.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "common/log.h"
#include "nlohmann/json.hpp"

namespace mixrec::data {
namespace {

constexpr const char* kKind = "MIXRHARD";
constexpr int kVersion = 1;

nlohmann::ordered_json HeaderOf(const Dataset& dataset) {
  return {{"version", kVersion},
          {"items", dataset.items()},
          {"items_hash", ItemsHash(dataset)},
          {"data_hash", dataset.content_hash()}};
}

// Ascending items as gaps, seven bits a byte, the lowest first; the top bit says that more follow.
void AppendGaps(const std::vector<int32_t>& items, std::string* bytes) {
  int32_t previous = -1;
  for (const int32_t item : items) {
    CHECK_GT(item, previous) << "hard samples must ascend";
    auto gap = static_cast<uint32_t>(item - previous - 1);
    for (; gap >= 128; gap >>= 7) bytes->push_back(static_cast<char>(0x80 | (gap & 127)));
    bytes->push_back(static_cast<char>(gap));
    previous = item;
  }
}

// False when the bytes are no list of items below `items`.
bool ReadGaps(std::string_view bytes, int32_t items, std::vector<int32_t>* out) {
  int64_t previous = -1;
  while (!bytes.empty()) {
    uint64_t gap = 0;
    for (int shift = 0;; shift += 7) {
      if (bytes.empty() || shift > 28) return false;
      const auto byte = static_cast<unsigned char>(bytes.front());
      bytes.remove_prefix(1);
      gap |= static_cast<uint64_t>(byte & 127) << shift;
      if (byte < 128) break;
    }
    previous += static_cast<int64_t>(gap) + 1;
    if (previous >= items) return false;
    out->push_back(static_cast<int32_t>(previous));
  }
  return true;
}

template <typename T>
void AppendInteger(T value, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

}  // namespace

std::string ItemsHash(const Dataset& dataset) {
  std::string ids;
  for (int32_t item = 0; item < dataset.items(); ++item) {
    ids += dataset.item_id(item);
    ids += '\n';
  }
  return ContentHash(ids);
}

absl::StatusOr<HardSampleWriter> HardSampleWriter::Open(const std::string& path,
                                                        const Dataset& dataset, int32_t block_items,
                                                        const std::string& settings) {
  CHECK_GE(block_items, 1);
  nlohmann::ordered_json header = HeaderOf(dataset);
  header["block_items"] = block_items;
  header["settings"] = nlohmann::ordered_json::parse(settings);
  MIXREC_ASSIGN_OR_RETURN(BlockFileWriter writer,
                          BlockFileWriter::Open(path, {kKind, header.dump()}));
  return HardSampleWriter(std::move(writer), dataset.items(), block_items);
}

int32_t HardSampleWriter::next_item() const {
  return static_cast<int32_t>(std::min<int64_t>(writer_.blocks() * block_items_, items_));
}

absl::Status HardSampleWriter::Append(const std::vector<std::vector<int32_t>>& sets) {
  CHECK_EQ(static_cast<int64_t>(sets.size()), std::min(block_items_, items_ - next_item()));
  std::string payload, lists;
  AppendInteger(static_cast<uint32_t>(sets.size()), &payload);
  for (const std::vector<int32_t>& set : sets) {
    const size_t begin = lists.size();
    AppendGaps(set, &lists);
    AppendInteger(static_cast<uint32_t>(lists.size() - begin), &payload);
  }
  return writer_.Append(payload + lists);
}

absl::Status MinedHardSamples::ReadBlock(std::string_view block, const std::string& place,
                                         int32_t items) {
  uint32_t count = 0;
  const absl::Status damaged = DataError(place, ": damaged sets; make the file again");
  if (block.size() < sizeof(count)) return damaged;
  std::memcpy(&count, block.data(), sizeof(count));
  block.remove_prefix(sizeof(count));
  if (count > block.size() / sizeof(uint32_t)) return damaged;
  std::vector<uint32_t> bytes(count);
  std::memcpy(bytes.data(), block.data(), count * sizeof(uint32_t));
  block.remove_prefix(count * sizeof(uint32_t));
  std::vector<int32_t> set;
  for (const uint32_t length : bytes) {
    set.clear();
    if (length > block.size() || !ReadGaps(block.substr(0, length), items, &set)) return damaged;
    sets_.push_back(block.substr(0, length));
    sizes_.push_back(static_cast<int32_t>(set.size()));
    block.remove_prefix(length);
  }
  return block.empty() ? absl::OkStatus() : damaged;
}

absl::StatusOr<std::unique_ptr<MinedHardSamples>> MinedHardSamples::Load(const std::string& path,
                                                                         const Dataset& dataset) {
  std::unique_ptr<MinedHardSamples> result(new MinedHardSamples(dataset));
  MIXREC_ASSIGN_OR_RETURN(result->file_, BlockFile::Open(path, kKind));
  const auto header = nlohmann::ordered_json::parse(result->file_.header(), nullptr, false);
  if (!header.is_object()) return DataError(path, ": the header is no JSON object");
  const nlohmann::ordered_json expected = HeaderOf(dataset);
  for (const auto& [field, value] : expected.items()) {
    const auto found = header.find(field);
    if (found == header.end() || *found != value) {
      return DataError(path, ": hard samples of other items (", field, " ",
                       found == header.end() ? "missing" : found->dump(), ", this data set has ",
                       value.dump(), "); mine them with the same --data and filter");
    }
  }
  for (int64_t block = 0; block < result->file_.blocks(); ++block) {
    MIXREC_RETURN_IF_ERROR(result->ReadBlock(result->file_.block(block),
                                             StrCat(path, ": block ", block), dataset.items()));
  }
  if (result->sets_.size() != static_cast<size_t>(dataset.items())) {
    return DataError(path, ": sets of ", result->sets_.size(), " items, expected ",
                     dataset.items());
  }
  result->settings_ = header.value("settings", nlohmann::ordered_json()).dump();
  MIXREC_ASSIGN_OR_RETURN(result->content_hash_, FileHash(path));
  return result;
}

std::vector<int32_t> MinedHardSamples::SetOf(int32_t item) const {
  std::vector<int32_t> set;
  set.reserve(static_cast<size_t>(sizes_[static_cast<size_t>(item)]));
  CHECK(ReadGaps(sets_[static_cast<size_t>(item)], static_cast<int32_t>(sets_.size()), &set));
  return set;
}

void MinedHardSamples::Draw(int32_t item, int count, RandomStream* random,
                            std::vector<int32_t>* negatives) const {
  CHECK(item >= 0 && static_cast<size_t>(item) < sets_.size()) << "item " << item;
  const auto wanted = static_cast<size_t>(std::max(count, 0));
  std::vector<int32_t> set = SetOf(item);
  const size_t from_set = std::min(wanted, set.size());
  for (size_t k = 0; k < from_set; ++k) {
    std::swap(set[k], set[k + random->Below(set.size() - k)]);
    negatives->push_back(set[k]);
  }
  if (from_set == wanted) return;
  // At most from_set of these are known already, so enough are left.
  std::vector<int32_t> others;
  fallback_.Draw(item, count, random, &others);
  size_t missing = wanted - from_set;
  const auto known = set.begin() + static_cast<std::ptrdiff_t>(from_set);
  for (const int32_t other : others) {
    if (missing == 0) return;
    if (std::find(set.begin(), known, other) != known) continue;
    negatives->push_back(other);
    --missing;
  }
  // The catalogue is smaller than `count`: repeat.
  if (missing > 0) fallback_.Draw(item, static_cast<int>(missing), random, negatives);
}

HardSampleSizes MinedHardSamples::Sizes() const {
  HardSampleSizes sizes;
  if (sizes_.empty()) return sizes;
  const auto [smallest, largest] = std::minmax_element(sizes_.begin(), sizes_.end());
  sizes.smallest = *smallest;
  sizes.largest = *largest;
  sizes.mean = static_cast<double>(std::accumulate(sizes_.begin(), sizes_.end(), int64_t{0})) /
               static_cast<double>(sizes_.size());
  sizes.empty = ItemsWithFewerThan(1);
  return sizes;
}

int64_t MinedHardSamples::ItemsWithFewerThan(int64_t count) const {
  return std::count_if(sizes_.begin(), sizes_.end(), [&](int32_t size) { return size < count; });
}

}  // namespace mixrec::data
