#include "data/tokenizer.h"

#include <algorithm>

#include "common/file.h"
#include "data/byte_alphabet.h"
#include "data/pretokenizer.h"
#include "data/tokenizer_tables.h"
#include "nlohmann/json.hpp"

namespace mixrec::data {
namespace {

bool IsSpecial(std::string_view text) {
  return std::find(kSpecialTokens.begin(), kSpecialTokens.end(), text) != kSpecialTokens.end();
}

std::string VocabularyJson(const std::vector<std::string>& texts) {
  std::string json = "{";
  for (size_t id = 0; id < texts.size(); ++id) {
    if (texts[id].empty()) continue;
    if (json.size() > 1) json += ", ";
    json += nlohmann::json(texts[id]).dump();
    json += StrCat(": ", id);
  }
  return json + "}\n";
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<Tables> tables) : tables_(std::move(tables)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

int32_t Tokenizer::vocab_size() const { return static_cast<int32_t>(tables_->texts.size()); }
const std::string& Tokenizer::content_hash() const { return tables_->content_hash; }

void Tokenizer::Encode(std::string_view text, std::vector<int32_t>* ids) const {
  const Tables& tables = *tables_;
  std::vector<int32_t> symbols;
  ForEachWord(text, [&](std::string_view word) {
    if (const auto whole = tables.whole_words.find(word); whole != tables.whole_words.end()) {
      ids->push_back(whole->second);
      return;
    }
    symbols.clear();
    for (const char c : word) symbols.push_back(tables.byte_ids[static_cast<unsigned char>(c)]);
    tables.merges.Apply(&symbols);
    ids->insert(ids->end(), symbols.begin(), symbols.end());
  });
}

std::vector<int32_t> Tokenizer::Encode(std::string_view text) const {
  std::vector<int32_t> ids;
  Encode(text, &ids);
  return ids;
}

std::string Tokenizer::Decode(const std::vector<int32_t>& ids) const {
  std::string text;
  for (const int32_t id : ids) {
    if (id < 0 || id >= vocab_size()) continue;
    if (!IsSpecial(tables_->texts[static_cast<size_t>(id)])) {
      text += tables_->bytes[static_cast<size_t>(id)];
    }
  }
  return text;
}

absl::Status Tokenizer::Save(const std::string& folder) const {
  MIXREC_RETURN_IF_ERROR(MakeFolder(folder));
  std::string merges = "#version: 0.2\n";
  for (const auto& [left, right] : tables_->merge_pairs) {
    merges += tables_->texts[static_cast<size_t>(left)] + ' ' +
              tables_->texts[static_cast<size_t>(right)] + '\n';
  }
  MIXREC_RETURN_IF_ERROR(WriteFileAtomic(folder + "/merges.txt", merges));
  return WriteFileAtomic(folder + "/vocab.json", VocabularyJson(tables_->texts));
}

absl::Status TokenizerAssembler::FillBytes(Tokenizer::Tables* tables) {
  tables->byte_ids.fill(-1);
  tables->bytes.resize(tables->texts.size());
  for (size_t id = 0; id < tables->texts.size(); ++id) {
    const std::string& text = tables->texts[id];
    tables->bytes[id] = AlphabetToBytes(text).value_or(text);
    const bool one_byte = tables->bytes[id].size() == 1 && AlphabetToBytes(text).has_value();
    if (!one_byte) continue;
    tables->byte_ids[static_cast<unsigned char>(tables->bytes[id][0])] = static_cast<int32_t>(id);
  }
  for (size_t byte = 0; byte < tables->byte_ids.size(); ++byte) {
    if (tables->byte_ids[byte] >= 0) continue;
    return DataError("no token for the byte ", byte, " (`",
                     BytesToAlphabet(std::string(1, static_cast<char>(byte))),
                     "`); a byte-level vocabulary has all 256");
  }
  return absl::OkStatus();
}

// Only tokens that merging their own bytes yields: not "<s>", nor what no merge reaches.
void TokenizerAssembler::FillWholeWords(Tokenizer::Tables* tables) {
  tables->whole_words.reserve(tables->texts.size());
  std::vector<int32_t> symbols;
  for (size_t id = 0; id < tables->texts.size(); ++id) {
    const std::string& bytes = tables->bytes[id];
    if (bytes.empty()) continue;
    symbols.clear();
    for (const char c : bytes) symbols.push_back(tables->byte_ids[static_cast<unsigned char>(c)]);
    tables->merges.Apply(&symbols);
    if (symbols.size() == 1) tables->whole_words.emplace(bytes, symbols[0]);
  }
}

absl::StatusOr<Tokenizer> TokenizerAssembler::Assemble(std::vector<std::string> texts,
                                                       const std::vector<MergeRule>& merges) {
  auto tables = std::make_unique<Tokenizer::Tables>();
  tables->texts = std::move(texts);
  MIXREC_RETURN_IF_ERROR(FillBytes(tables.get()));
  tables->merges = MergeTable(merges.size());
  std::string content = VocabularyJson(tables->texts);
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const MergeRule& rule = merges[rank];
    tables->merge_pairs.emplace_back(rule.left, rule.right);
    tables->merges.Insert(rule.left, rule.right, {static_cast<int32_t>(rank), rule.merged});
    content += StrCat(rule.left, " ", rule.right, "\n");
  }
  tables->content_hash = ContentHash(content);
  FillWholeWords(tables.get());
  return Tokenizer(std::move(tables));
}

}  // namespace mixrec::data
