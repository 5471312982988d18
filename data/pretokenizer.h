// GPT-2's pre-tokenisation: text is cut into words before BPE merges bytes inside each. Private to
// data/.
#pragma once

#include <cstddef>
#include <string_view>

namespace mixrec::data {

// Length in bytes of the first word of `text` (not empty) under GPT-2's pattern
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// with Unicode's classes; bytes that are not UTF-8 count as neither letter, number nor space.
size_t FirstWordLength(std::string_view text);

// Calls `consume(word)` for each word in order; the words concatenated are the text.
template <typename Consume>
void ForEachWord(std::string_view text, const Consume& consume) {
  while (!text.empty()) {
    const size_t length = FirstWordLength(text);
    consume(text.substr(0, length));
    text.remove_prefix(length);
  }
}

}  // namespace mixrec::data
