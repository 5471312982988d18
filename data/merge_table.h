// BPE's merges and their application to one word. Private to data/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mixrec::data {

inline uint64_t PairKey(int32_t left, int32_t right) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}

// Pair of token ids -> rank (lower merges first) and merged id; open addressing.
class MergeTable {
 public:
  struct Merge {
    int32_t rank = -1;  // -1: the pair does not merge
    int32_t merged = -1;
  };

  explicit MergeTable(size_t expected = 0);
  // A pair that is there already gets the new rank.
  void Insert(int32_t left, int32_t right, Merge merge);
  Merge Find(int32_t left, int32_t right) const;

  // Merges the symbols until no pair of neighbours is left that merges: always the pair of lowest
  // rank, of equal ones the leftmost.
  void Apply(std::vector<int32_t>* symbols) const;

 private:
  struct Slot {
    uint64_t key = kEmpty;
    Merge merge;
  };
  static constexpr uint64_t kEmpty = ~uint64_t{0};

  void Grow();
  size_t SlotOf(uint64_t key) const;
  void ApplyToShortWord(std::vector<int32_t>* symbols) const;
  void ApplyToLongWord(std::vector<int32_t>* symbols) const;

  std::vector<Slot> slots_;  // a power of two, at most half full
  size_t size_ = 0;
};

}  // namespace mixrec::data
