#include "data/text_pieces.h"

#include <algorithm>
#include <unordered_set>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/log.h"
#include "common/random.h"

namespace mixrec::data {
namespace {

using Words = std::vector<absl::string_view>;

bool EndsSentence(absl::string_view word) {
  return absl::string_view(".!?;").find(word.back()) != absl::string_view::npos;
}

std::vector<std::string> AllPieces(const std::string& text, const TextPieceOptions& options) {
  std::vector<std::string> pieces;
  Words piece;
  const auto end = [&] {
    if (static_cast<int64_t>(piece.size()) >= options.min_words) {
      pieces.push_back(absl::StrJoin(piece, " "));
    }
    piece.clear();
  };
  for (absl::string_view word :
       absl::StrSplit(text, absl::ByAnyChar(" \t\n\r\f\v"), absl::SkipEmpty())) {
    piece.push_back(word);
    if (EndsSentence(word) || static_cast<int64_t>(piece.size()) == options.max_words) end();
  }
  end();
  return pieces;
}

}  // namespace

std::vector<std::string> TextPieces(const std::vector<std::string>& texts,
                                    const TextPieceOptions& options) {
  CHECK(options.per_text >= 0 && options.min_words >= 1 && options.max_words >= options.min_words);
  std::vector<std::string> result;
  std::unordered_set<std::string> seen;
  for (size_t place = 0; place < texts.size(); ++place) {
    std::vector<std::string> pieces = AllPieces(texts[place], options);
    RandomStream random(HashKey(options.seed, "text pieces", static_cast<uint64_t>(place)));
    for (size_t i = pieces.size(); i > 1; --i) std::swap(pieces[i - 1], pieces[random.Below(i)]);
    int64_t taken = 0;
    for (std::string& piece : pieces) {
      if (taken == options.per_text) break;
      if (!seen.insert(piece).second) continue;
      result.push_back(std::move(piece));
      ++taken;
    }
  }
  return result;
}

}  // namespace mixrec::data
