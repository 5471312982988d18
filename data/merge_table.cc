#include "data/merge_table.h"

#include <queue>
#include <tuple>
#include <utility>

#include "common/random.h"

namespace mixrec::data {
namespace {

// Above this many symbols the quadratic search for the best pair costs more than a heap.
constexpr size_t kShortWord = 48;

}  // namespace

MergeTable::MergeTable(size_t expected) {
  size_t slots = 16;
  while (slots < 2 * expected) slots *= 2;
  slots_.resize(slots);
}

size_t MergeTable::SlotOf(uint64_t key) const {
  size_t slot = Mix64(key) & (slots_.size() - 1);
  while (slots_[slot].key != key && slots_[slot].key != kEmpty) {
    slot = (slot + 1) & (slots_.size() - 1);
  }
  return slot;
}

void MergeTable::Grow() {
  std::vector<Slot> old(2 * slots_.size());
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.key != kEmpty) slots_[SlotOf(slot.key)] = slot;
  }
}

void MergeTable::Insert(int32_t left, int32_t right, Merge merge) {
  if (2 * (size_ + 1) > slots_.size()) Grow();
  Slot& slot = slots_[SlotOf(PairKey(left, right))];
  size_ += slot.key == kEmpty;
  slot = {PairKey(left, right), merge};
}

MergeTable::Merge MergeTable::Find(int32_t left, int32_t right) const {
  return slots_[SlotOf(PairKey(left, right))].merge;
}

void MergeTable::Apply(std::vector<int32_t>* symbols) const {
  if (symbols->size() <= kShortWord) {
    ApplyToShortWord(symbols);
  } else {
    ApplyToLongWord(symbols);
  }
}

void MergeTable::ApplyToShortWord(std::vector<int32_t>* symbols) const {
  std::vector<int32_t>& word = *symbols;
  if (word.size() < 2) return;
  Merge merges[kShortWord];  // merges[i] of word[i] and word[i + 1]
  size_t pairs = word.size() - 1;
  for (size_t i = 0; i < pairs; ++i) merges[i] = Find(word[i], word[i + 1]);
  while (pairs > 0) {
    size_t best = pairs;
    for (size_t i = 0; i < pairs; ++i) {
      if (merges[i].rank < 0) continue;
      if (best == pairs || merges[i].rank < merges[best].rank) best = i;
    }
    if (best == pairs) break;
    word[best] = merges[best].merged;
    word.erase(word.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    --pairs;
    for (size_t i = best; i < pairs; ++i) merges[i] = merges[i + 1];
    if (best > 0) merges[best - 1] = Find(word[best - 1], word[best]);
    if (best < pairs) merges[best] = Find(word[best], word[best + 1]);
  }
}

void MergeTable::ApplyToLongWord(std::vector<int32_t>* symbols) const {
  constexpr size_t kNone = ~size_t{0};
  constexpr int32_t kGone = -1;
  std::vector<int32_t>& word = *symbols;
  std::vector<size_t> previous(word.size()), next(word.size());
  // Rank, position of the left symbol, both ids: an entry is stale once one of them changed.
  using Entry = std::tuple<int32_t, size_t, int32_t, int32_t>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<Entry>> queue;
  const auto push = [&](size_t left) {
    const int32_t a = word[left], b = word[next[left]];
    if (const Merge merge = Find(a, b); merge.rank >= 0) queue.emplace(merge.rank, left, a, b);
  };
  for (size_t i = 0; i < word.size(); ++i) {
    previous[i] = i == 0 ? kNone : i - 1;
    next[i] = i + 1 == word.size() ? kNone : i + 1;
  }
  for (size_t i = 0; i + 1 < word.size(); ++i) push(i);
  while (!queue.empty()) {
    const auto [rank, left, a, b] = queue.top();
    queue.pop();
    const size_t right = next[left];
    if (word[left] != a || right == kNone || word[right] != b) continue;
    word[left] = Find(a, b).merged;
    word[right] = kGone;
    next[left] = next[right];
    next[right] = kNone;
    if (next[left] != kNone) {
      previous[next[left]] = left;
      push(left);
    }
    if (previous[left] != kNone) push(previous[left]);
  }
  size_t kept = 0;
  for (const int32_t symbol : word) {
    if (symbol != kGone) word[kept++] = symbol;
  }
  word.resize(kept);
}

}  // namespace mixrec::data
