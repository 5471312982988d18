// Reading vocab.json and merges.txt.
#include <algorithm>
#include <unordered_map>

#include "common/file.h"
#include "data/tokenizer.h"
#include "data/tokenizer_tables.h"
#include "data/utf8.h"
#include "nlohmann/json.hpp"

namespace mixrec::data {
namespace {

constexpr int64_t kMaxId = 1'000'000;  // a file with larger ids is taken for a damaged one

using TokenIndex = std::unordered_map<std::string_view, int32_t>;

absl::StatusOr<nlohmann::json> ParseVocabulary(const std::string& path) {
  MIXREC_ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  try {
    return nlohmann::json::parse(content);
  } catch (const nlohmann::json::parse_error& error) {
    const size_t end = std::min<size_t>(error.byte, content.size());
    const auto line =
        1 + std::count(content.begin(), content.begin() + static_cast<long>(end), '\n');
    return DataError(path, ":", line, ": not JSON: ", error.what());
  } catch (const nlohmann::json::exception& error) {  // such as a number out of range
    return DataError(path, ": not JSON: ", error.what());
  }
}

// Token texts by id.
absl::StatusOr<std::vector<std::string>> ReadVocabulary(const std::string& path) {
  MIXREC_ASSIGN_OR_RETURN(const nlohmann::json vocabulary, ParseVocabulary(path));
  if (!vocabulary.is_object()) return DataError(path, ":1: expected an object of token: id");
  std::vector<std::string> texts;
  for (const auto& [text, id] : vocabulary.items()) {
    const bool valid = id.is_number_unsigned() && id.get<uint64_t>() <= uint64_t{kMaxId};
    if (!valid || text.empty()) {
      return DataError(path, ": token `", text, "`: expected a text and an id from 0 to ", kMaxId,
                       ", found ", id.dump());
    }
    const auto index = id.get<size_t>();
    if (index >= texts.size()) texts.resize(index + 1);
    if (!texts[index].empty()) {
      return DataError(path, ": tokens `", texts[index], "` and `", text, "` share the id ", index);
    }
    texts[index] = text;
  }
  return texts;
}

absl::StatusOr<MergeRule> ParseMerge(std::string_view line, const TokenIndex& index,
                                     const std::string& place) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || space == 0 || space + 1 == line.size() ||
      line.find(' ', space + 1) != std::string_view::npos) {
    return DataError(place, "expected two tokens with one space between, found `", RepairUtf8(line),
                     "`");
  }
  const std::string_view left = line.substr(0, space), right = line.substr(space + 1);
  const std::string joined = std::string(left) + std::string(right);
  MergeRule rule;
  for (const auto& [text, id] : {std::pair<std::string_view, int32_t*>{left, &rule.left},
                                 {right, &rule.right},
                                 {joined, &rule.merged}}) {
    const auto found = index.find(text);
    if (found == index.end()) {
      return DataError(place, "token `", RepairUtf8(text), "` is not in vocab.json");
    }
    *id = found->second;
  }
  return rule;
}

absl::StatusOr<std::vector<MergeRule>> ReadMerges(const std::string& path,
                                                  const TokenIndex& index) {
  MIXREC_ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  std::vector<MergeRule> rules;
  std::string_view rest = content;
  for (int64_t number = 1; !rest.empty(); ++number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty() || (number == 1 && line.substr(0, 8) == "#version")) continue;
    MIXREC_ASSIGN_OR_RETURN(const MergeRule rule,
                            ParseMerge(line, index, StrCat(path, ":", number, ": ")));
    rules.push_back(rule);
  }
  return rules;
}

}  // namespace

absl::StatusOr<Tokenizer> Tokenizer::Load(const std::string& folder) {
  const std::string vocabulary_path = folder + "/vocab.json";
  MIXREC_ASSIGN_OR_RETURN(std::vector<std::string> texts, ReadVocabulary(vocabulary_path));
  TokenIndex index;
  for (size_t id = 0; id < texts.size(); ++id) {
    if (!texts[id].empty()) index.emplace(texts[id], static_cast<int32_t>(id));
  }
  MIXREC_ASSIGN_OR_RETURN(const std::vector<MergeRule> rules,
                          ReadMerges(folder + "/merges.txt", index));
  auto tokenizer = TokenizerAssembler::Assemble(std::move(texts), rules);
  if (!tokenizer.ok()) return DataError(vocabulary_path, ": ", tokenizer.status().message());
  return tokenizer;
}

}  // namespace mixrec::data
