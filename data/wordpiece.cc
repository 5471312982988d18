#include "data/wordpiece.h"

#include <algorithm>

#include "common/file.h"
#include "common/log.h"
#include "data/utf8.h"
#include "nlohmann/json.hpp"

namespace mixrec::data {
namespace {

constexpr std::string_view kContinuation = "##";

std::vector<std::string> Lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    lines.emplace_back(line);
  }
  return lines;
}

absl::StatusOr<WordPieceOptions> ReadOptions(const std::string& path) {
  WordPieceOptions options;
  if (!PathExists(path)) return options;
  MIXREC_ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  const auto json = nlohmann::json::parse(content, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return DataError(path, ": not a JSON object");
  const auto field = json.find("do_lower_case");
  if (field == json.end()) return options;
  if (!field->is_boolean()) {
    return DataError(path, ": field \"do_lower_case\" must be true or false");
  }
  options.lower_case = field->get<bool>();
  return options;
}

// Bytes of the code point at the head of the text (not empty, valid UTF-8).
size_t FirstLength(std::string_view text) { return DecodeCodePoint(text, 0).length; }

int CodePoints(std::string_view text) {
  int count = 0;
  for (; !text.empty(); text.remove_prefix(FirstLength(text))) ++count;
  return count;
}

// Length of the longest prefix of `text` that is in the index, 0 for none; sets its id.
template <typename Index>
size_t LongestPrefix(const Index& index, std::string_view text, int32_t* id) {
  for (size_t length = text.size(); length > 0; --length) {
    const bool inside = length < text.size() && (text[length] & 0xC0) == 0x80;
    if (inside) continue;  // never cut a code point
    const auto found = index.find(text.substr(0, length));
    if (found == index.end()) continue;
    *id = found->second;
    return length;
  }
  return 0;
}

}  // namespace

absl::StatusOr<WordPieceTokenizer> WordPieceTokenizer::Load(const std::string& folder) {
  const std::string path = folder + "/vocab.txt";
  MIXREC_ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  MIXREC_ASSIGN_OR_RETURN(const WordPieceOptions options,
                          ReadOptions(folder + "/tokenizer_config.json"));
  auto tokenizer = FromTokens(Lines(content), options);
  if (!tokenizer.ok()) return DataError(path, ": ", tokenizer.status().message());
  return tokenizer;
}

absl::StatusOr<WordPieceTokenizer> WordPieceTokenizer::FromTokens(std::vector<std::string> tokens,
                                                                  WordPieceOptions options) {
  WordPieceTokenizer tokenizer;
  tokenizer.options_ = options;
  tokenizer.tokens_ = std::move(tokens);
  for (size_t id = 0; id < tokenizer.tokens_.size(); ++id) {
    std::string_view text = tokenizer.tokens_[id];
    if (!IsUtf8(text)) return DataError("token ", id, " is not UTF-8");
    const bool following = text.size() > 2 && text.substr(0, 2) == kContinuation;
    if (following) text.remove_prefix(kContinuation.size());
    (following ? tokenizer.following_ : tokenizer.first_)[text] = static_cast<int32_t>(id);
  }
  for (const auto& [name, id] :
       {std::pair<std::string_view, int32_t*>{"[UNK]", &tokenizer.unknown_},
        {"[CLS]", &tokenizer.begin_},
        {"[SEP]", &tokenizer.end_}}) {
    const auto found = tokenizer.first_.find(name);
    if (found == tokenizer.first_.end()) {
      return DataError("a WordPiece vocabulary needs the token ", name, ", which is not among its ",
                       tokenizer.tokens_.size());
    }
    *id = found->second;
  }
  return tokenizer;
}

void WordPieceTokenizer::AppendPieces(std::string_view word, std::vector<int32_t>* ids) const {
  const size_t begin = ids->size();
  int32_t id = unknown_;
  size_t length =
      CodePoints(word) > options_.max_word_length ? 0 : LongestPrefix(first_, word, &id);
  while (length > 0) {
    ids->push_back(id);
    word.remove_prefix(length);
    if (word.empty()) return;
    length = LongestPrefix(following_, word, &id);
  }
  ids->resize(begin);
  ids->push_back(unknown_);
}

std::vector<int32_t> WordPieceTokenizer::Encode(std::string_view text, int max_tokens) const {
  CHECK_GE(max_tokens, 2) << "[CLS] and [SEP] need room";
  const auto limit = static_cast<size_t>(max_tokens) - 1;
  std::vector<int32_t> ids{begin_};
  for (const std::string& word : BasicTokens(text, options_.lower_case)) {
    if (ids.size() >= limit) break;
    AppendPieces(word, &ids);
  }
  ids.resize(std::min(ids.size(), limit));
  ids.push_back(end_);
  return ids;
}

}  // namespace mixrec::data
