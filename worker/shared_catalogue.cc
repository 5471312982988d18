#include "worker/shared_catalogue.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "data/catalogue_parts.h"
#include "worker/run_ranks.h"

namespace mixrec::worker {
namespace {

constexpr char kWhat[] = "tokenising the items";
constexpr double kPatienceSeconds = 1800;

using ItemTokens = std::vector<std::vector<int32_t>>;

// Each item's length, then its tokens, as bytes.
std::string ToBytes(const ItemTokens& items) {
  std::vector<int32_t> words;
  for (const std::vector<int32_t>& tokens : items) {
    words.push_back(static_cast<int32_t>(tokens.size()));
    words.insert(words.end(), tokens.begin(), tokens.end());
  }
  return {reinterpret_cast<const char*>(words.data()), words.size() * sizeof(int32_t)};
}

void Append(const std::string& bytes, ItemTokens* items) {
  std::vector<int32_t> words(bytes.size() / sizeof(int32_t));
  std::memcpy(words.data(), bytes.data(), bytes.size());
  for (size_t at = 0; at < words.size();) {
    const auto begin = words.begin() + static_cast<std::ptrdiff_t>(at) + 1;
    items->emplace_back(begin, begin + words[at]);
    at += 1 + static_cast<size_t>(words[at]);
  }
}

absl::StatusOr<data::Catalogue> BuildTogether(collective::Group* group,
                                              const data::Dataset& dataset,
                                              const data::Tokenizer& tokenizer,
                                              const data::CatalogueOptions& options) {
  const int64_t items = dataset.items(), rank = group->rank(), size = group->size();
  const ItemTokens mine =
      data::TokeniseItems(dataset, tokenizer, options, static_cast<int32_t>(items * rank / size),
                          static_cast<int32_t>(items * (rank + 1) / size));
  MIXREC_ASSIGN_OR_RETURN(const std::vector<std::string> parts,
                          collective::GatherTexts(group, ToBytes(mine), kWhat));
  ItemTokens all;
  for (const std::string& part : parts) Append(part, &all);
  return data::Catalogue(tokenizer.Encode(options.prompt), all);
}

}  // namespace

absl::StatusOr<data::Catalogue> SharedCatalogue(collective::Group* group,
                                                const data::Dataset& dataset,
                                                const data::Tokenizer& tokenizer,
                                                const data::CatalogueOptions& options,
                                                const std::string& cache_path) {
  const collective::Patience patience(group, std::max(kPatienceSeconds, group->patience()));
  std::optional<data::Catalogue> cached;
  if (group->rank() == 0 && !cache_path.empty()) {
    cached = data::ReadCatalogueCache(dataset, tokenizer, options, cache_path);
  }
  bool found = cached.has_value();
  MIXREC_RETURN_IF_ERROR(RunRanks(group).Share(kWhat, &found));
  if (found) {
    if (!cached) cached = data::ReadCatalogueCache(dataset, tokenizer, options, cache_path);
    return cached ? *std::move(cached) : data::BuildCatalogue(dataset, tokenizer, options);
  }
  MIXREC_ASSIGN_OR_RETURN(data::Catalogue built, BuildTogether(group, dataset, tokenizer, options));
  absl::Status written;
  if (group->rank() == 0 && !cache_path.empty()) {
    written = data::WriteCatalogueCache(built, dataset, tokenizer, options, cache_path);
  }
  MIXREC_RETURN_IF_ERROR(collective::Agree(group, written, kWhat));
  return built;
}

}  // namespace mixrec::worker
