// The tokenised items: what the model reads for each of them (model.md D15, D16, D20).
// Immutable; any thread may read it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "common/status.h"
#include "data/dataset.h"
#include "data/tokenizer.h"

namespace mixrec::data {

struct CatalogueOptions {
  int max_item_tokens = 30;  // of text; [SEQ] or [ALIGN] comes on top
  std::string prompt = "Give the ID of the item described by:";
};

class Catalogue {
 public:
  Catalogue() = default;
  // `item_tokens[i]` are the tokens of item i, at least one each.
  Catalogue(std::vector<int32_t> prompt_tokens,
            const std::vector<std::vector<int32_t>>& item_tokens);

  int32_t items() const { return static_cast<int32_t>(offsets_.size()) - 1; }
  absl::Span<const int32_t> item_tokens(int32_t item) const {
    const auto begin = offsets_[static_cast<size_t>(item)];
    const auto end = offsets_[static_cast<size_t>(item) + 1];
    return {tokens_.data() + begin, static_cast<size_t>(end - begin)};
  }
  // Tokens of the alignment prompt.
  absl::Span<const int32_t> prompt_tokens() const { return prompt_tokens_; }
  // Length of the longest item.
  int32_t max_item_tokens() const { return max_item_tokens_; }
  int64_t total_tokens() const { return static_cast<int64_t>(tokens_.size()); }

 private:
  friend class CatalogueCache;
  std::vector<int32_t> prompt_tokens_;
  std::vector<int64_t> offsets_{0};  // [items + 1]
  std::vector<int32_t> tokens_;
  int32_t max_item_tokens_ = 0;
};

// One BPE call per item sentence, cut after `max_item_tokens`.
Catalogue BuildCatalogue(const Dataset& dataset, const Tokenizer& tokenizer,
                         const CatalogueOptions& options);

// The same, through a cache file. The file is used only when it is whole and was made from the same
// sentences, tokenizer and options; otherwise the catalogue is built and the file rewritten
// atomically. An empty `cache_path` means no cache. Fails only when the file cannot be written.
absl::StatusOr<Catalogue> LoadOrBuildCatalogue(const Dataset& dataset, const Tokenizer& tokenizer,
                                               const CatalogueOptions& options,
                                               const std::string& cache_path,
                                               bool* from_cache = nullptr);

}  // namespace mixrec::data
