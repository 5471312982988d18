// BERT's tokenizer: basic tokenisation (control characters, white space, lower case, accents, CJK,
// punctuation), then WordPiece, as in the BertTokenizer of Hugging Face.
//
// Text is text: "[SEP]" inside of it is four pieces, never a special token. Immutable once loaded;
// any thread may use it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/status.h"

namespace mixrec::data {

struct WordPieceOptions {
  bool lower_case = true;     // also strips accents, as BERT does
  int max_word_length = 100;  // code points; a longer word is [UNK]
};

class WordPieceTokenizer {
 public:
  // Reads FOLDER/vocab.txt, one token a line, and `do_lower_case` of FOLDER/tokenizer_config.json
  // when that file is there. DataError names the file and what is wrong.
  static absl::StatusOr<WordPieceTokenizer> Load(const std::string& folder);
  // Token i has the id i; a later one of the same text wins. DataError when [UNK], [CLS] or [SEP]
  // is missing, or a token is not UTF-8.
  static absl::StatusOr<WordPieceTokenizer> FromTokens(std::vector<std::string> tokens,
                                                       WordPieceOptions options = {});

  WordPieceTokenizer(WordPieceTokenizer&&) = default;
  WordPieceTokenizer& operator=(WordPieceTokenizer&&) = default;
  WordPieceTokenizer(const WordPieceTokenizer&) = delete;
  WordPieceTokenizer& operator=(const WordPieceTokenizer&) = delete;

  // [CLS] pieces [SEP], the pieces cut so that there are at most `max_tokens` (at least 2) in all.
  std::vector<int32_t> Encode(std::string_view text, int max_tokens) const;

  int32_t vocab_size() const { return static_cast<int32_t>(tokens_.size()); }
  const std::string& token(int32_t id) const { return tokens_[static_cast<size_t>(id)]; }
  const std::vector<std::string>& tokens() const { return tokens_; }
  bool lower_case() const { return options_.lower_case; }

 private:
  using Index = std::unordered_map<std::string_view, int32_t>;  // views into tokens_

  WordPieceTokenizer() = default;
  // Appends the pieces of one word, or [UNK].
  void AppendPieces(std::string_view word, std::vector<int32_t>* ids) const;

  WordPieceOptions options_;
  std::vector<std::string> tokens_;
  Index first_, following_;  // word starts; pieces that follow, without their "##"
  int32_t unknown_ = 0, begin_ = 0, end_ = 0;
};

// The words that WordPiece cuts: separated at white space, around punctuation and CJK characters.
// Bytes that are not UTF-8 are dropped, as U+FFFD is.
std::vector<std::string> BasicTokens(std::string_view text, bool lower_case);

}  // namespace mixrec::data
