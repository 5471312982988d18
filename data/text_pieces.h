// Long texts cut into short ones that a language model reads at once: the sentences of items'
// descriptions as texts of their own (docs/hard_samples.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mixrec::data {

struct TextPieceOptions {
  int64_t per_text = 3;    // at most, drawn among all pieces of the text
  int64_t max_words = 22;  // a longer sentence becomes several pieces
  int64_t min_words = 5;   // shorter pieces are left out
  uint64_t seed = 1;
};

// Pieces of the texts in the order of the texts, none twice. A sentence ends at one of . ! ? ;
// before white space (ASCII); words are joined by single blanks. What is drawn of a text depends on
// the seed, its place and what the texts before it gave.
std::vector<std::string> TextPieces(const std::vector<std::string>& texts,
                                    const TextPieceOptions& options);

}  // namespace mixrec::data
