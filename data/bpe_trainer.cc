// Training of a byte-level BPE with incremental pair counts: a merge touches only the words that
// hold its pair.
#include <algorithm>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "common/log.h"
#include "data/byte_alphabet.h"
#include "data/pretokenizer.h"
#include "data/tokenizer.h"
#include "data/tokenizer_tables.h"

namespace mixrec::data {
namespace {

constexpr int64_t kFewestOccurrences = 2;

class BpeTrainer {
 public:
  explicit BpeTrainer(const std::vector<std::string>& texts) {
    for (const std::string_view special : kSpecialTokens) AddToken(std::string(special));
    for (int byte = 0; byte < 256; ++byte) {
      byte_ids_[static_cast<size_t>(byte)] =
          AddToken(BytesToAlphabet(std::string(1, static_cast<char>(byte))));
    }
    CountWords(texts);
    CountPairs();
  }

  Tokenizer Train(int vocab_size) {
    while (token_texts_.size() < static_cast<size_t>(vocab_size) && MergeBestPair()) {
    }
    auto tokenizer = TokenizerAssembler::Assemble(std::move(token_texts_), rules_);
    CHECK(tokenizer.ok()) << tokenizer.status();
    return std::move(tokenizer).value();
  }

 private:
  struct Word {
    std::vector<int32_t> symbols;
    int64_t count = 0;
  };
  struct PairState {
    int64_t count = 0;
    std::vector<int32_t> words;  // that held it when it was counted; may repeat or be out of date
  };
  struct Candidate {
    int64_t count = 0;
    uint64_t pair = 0;
    bool operator<(const Candidate& other) const {  // a max-heap: most frequent, then smallest pair
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  int32_t AddToken(std::string text) {
    const auto [found, is_new] =
        token_index_.emplace(text, static_cast<int32_t>(token_texts_.size()));
    if (is_new) token_texts_.push_back(std::move(text));
    return found->second;
  }

  void CountWords(const std::vector<std::string>& texts) {
    std::unordered_map<std::string_view, size_t> index;
    for (const std::string& text : texts) {
      ForEachWord(text, [&](std::string_view bytes) {
        const auto [found, is_new] = index.emplace(bytes, words_.size());
        if (is_new) {
          words_.emplace_back();
          for (const char c : bytes) {
            words_.back().symbols.push_back(byte_ids_[static_cast<unsigned char>(c)]);
          }
        }
        ++words_[found->second].count;
      });
    }
  }

  void CountPairs() {
    for (size_t w = 0; w < words_.size(); ++w) AddPairs(static_cast<int32_t>(w));
    PushTouched();
  }

  void AddPairs(int32_t w) {
    const Word& word = words_[static_cast<size_t>(w)];
    for (size_t i = 0; i + 1 < word.symbols.size(); ++i) {
      const uint64_t key = PairKey(word.symbols[i], word.symbols[i + 1]);
      PairState& pair = pairs_[key];
      pair.count += word.count;
      if (pair.words.empty() || pair.words.back() != w) pair.words.push_back(w);
      touched_.push_back(key);
    }
  }

  void RemovePairs(int32_t w) {
    const Word& word = words_[static_cast<size_t>(w)];
    for (size_t i = 0; i + 1 < word.symbols.size(); ++i) {
      pairs_[PairKey(word.symbols[i], word.symbols[i + 1])].count -= word.count;
    }
  }

  // Counts that grew enter the heap anew; those that shrank are corrected when they are popped.
  void PushTouched() {
    std::sort(touched_.begin(), touched_.end());
    touched_.erase(std::unique(touched_.begin(), touched_.end()), touched_.end());
    for (const uint64_t key : touched_) {
      const int64_t count = pairs_[key].count;
      if (count >= kFewestOccurrences) heap_.push({count, key});
    }
    touched_.clear();
  }

  bool MergeBestPair() {
    while (!heap_.empty()) {
      const Candidate best = heap_.top();
      heap_.pop();
      const int64_t count = pairs_[best.pair].count;
      if (count != best.count) {
        if (count >= kFewestOccurrences && count < best.count) heap_.push({count, best.pair});
        continue;
      }
      if (Merge(best.pair)) return true;
    }
    return false;
  }

  // False for a pair whose text is that of a special token, which no text may yield.
  bool Merge(uint64_t key) {
    const auto left = static_cast<int32_t>(key >> 32), right = static_cast<int32_t>(key);
    std::string text =
        token_texts_[static_cast<size_t>(left)] + token_texts_[static_cast<size_t>(right)];
    if (std::find(kSpecialTokens.begin(), kSpecialTokens.end(), text) != kSpecialTokens.end()) {
      return false;
    }
    const int32_t merged = AddToken(std::move(text));
    rules_.push_back({left, right, merged});
    std::vector<int32_t> words;
    words.swap(pairs_[key].words);
    for (const int32_t w : words) MergeInWord(w, rules_.back());
    PushTouched();
    return true;
  }

  void MergeInWord(int32_t w, const MergeRule& rule) {
    std::vector<int32_t>& symbols = words_[static_cast<size_t>(w)].symbols;
    const auto pair_at = [&](size_t i) {
      return i + 1 < symbols.size() && symbols[i] == rule.left && symbols[i + 1] == rule.right;
    };
    size_t first = 0;
    while (first < symbols.size() && !pair_at(first)) ++first;
    if (first == symbols.size()) return;
    RemovePairs(w);
    size_t kept = first;
    for (size_t i = first; i < symbols.size(); ++kept) {
      const bool merge = pair_at(i);
      symbols[kept] = merge ? rule.merged : symbols[i];
      i += merge ? 2 : 1;
    }
    symbols.resize(kept);
    AddPairs(w);
  }

  std::array<int32_t, 256> byte_ids_{};
  std::vector<std::string> token_texts_;
  std::unordered_map<std::string, int32_t> token_index_;
  std::vector<MergeRule> rules_;
  std::vector<Word> words_;
  std::unordered_map<uint64_t, PairState> pairs_;
  std::vector<uint64_t> touched_;
  std::priority_queue<Candidate> heap_;
};

}  // namespace

Tokenizer TrainBpe(const std::vector<std::string>& texts, int vocab_size) {
  CHECK_GE(vocab_size, 260) << "a byte-level vocabulary has 4 special tokens and 256 bytes";
  return BpeTrainer(texts).Train(vocab_size);
}

}  // namespace mixrec::data
