// What a Tokenizer holds, and how it is put together. Private to data/.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/status.h"
#include "data/merge_table.h"
#include "data/tokenizer.h"

namespace mixrec::data {

// The special tokens of OPT, by id.
inline constexpr std::array<std::string_view, 4> kSpecialTokens{"<s>", "<pad>", "</s>", "<unk>"};

struct Tokenizer::Tables {
  std::vector<std::string> texts;  // [vocab_size] as in vocab.json; empty where no token has the id
  std::vector<std::string> bytes;  // [vocab_size] what the token stands for
  std::array<int32_t, 256> byte_ids{};
  std::vector<std::pair<int32_t, int32_t>> merge_pairs;  // by rank
  MergeTable merges;
  // Words that BPE makes into one token, so that most words need no merging.
  std::unordered_map<std::string_view, int32_t> whole_words;  // views into `bytes`
  std::string content_hash;
};

struct MergeRule {
  int32_t left = 0, right = 0, merged = 0;
};

class TokenizerAssembler {
 public:
  // `texts[id]` as in vocab.json, `merges` by rank. DataError when a byte has no token.
  static absl::StatusOr<Tokenizer> Assemble(std::vector<std::string> texts,
                                            const std::vector<MergeRule>& merges);

 private:
  static absl::Status FillBytes(Tokenizer::Tables* tables);
  static void FillWholeWords(Tokenizer::Tables* tables);
};

}  // namespace mixrec::data
