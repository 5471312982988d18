// OPT's tokenizer: the byte-level BPE of GPT-2, from Hugging Face's vocab.json and merges.txt; and
// the training of such a vocabulary on a catalogue's own text.
//
// Adds no special tokens. Encode and Decode are const and may be called from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace mixrec::data {

class Tokenizer {
 public:
  // Reads FOLDER/vocab.json and FOLDER/merges.txt. DataError naming file and line when they are
  // malformed, disagree, or lack a token for one of the 256 bytes.
  static absl::StatusOr<Tokenizer> Load(const std::string& folder);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Appends the ids of `text`. Any bytes are accepted; those that are not UTF-8 are encoded as
  // bytes.
  void Encode(std::string_view text, std::vector<int32_t>* ids) const;
  std::vector<int32_t> Encode(std::string_view text) const;

  // The bytes that the ids stand for; ids outside the vocabulary and the four special tokens add
  // nothing.
  std::string Decode(const std::vector<int32_t>& ids) const;

  // Largest id + 1: the rows that an embedding table needs.
  int32_t vocab_size() const;
  // Hash of vocabulary and merges, 32 hexadecimal digits.
  const std::string& content_hash() const;

  // Writes FOLDER/vocab.json and FOLDER/merges.txt as Hugging Face's GPT2Tokenizer loads them.
  absl::Status Save(const std::string& folder) const;

 private:
  friend class TokenizerAssembler;
  struct Tables;
  explicit Tokenizer(std::unique_ptr<Tables> tables);
  std::unique_ptr<Tables> tables_;
};

// Trains a byte-level BPE of at most `vocab_size` entries (at least 260): ids 0..3 are <s>, <pad>,
// </s>, <unk> as in OPT, then the 256 bytes, then merges, most frequent pair first, ties by the
// smaller pair of ids. Stops early when no pair occurs twice. Deterministic.
Tokenizer TrainBpe(const std::vector<std::string>& texts, int vocab_size);

}  // namespace mixrec::data
