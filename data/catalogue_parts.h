// The steps of data::LoadOrBuildCatalogue, for those who share the work.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "data/catalogue.h"

namespace mixrec::data {

// The tokens of items [first, last), each cut after `max_item_tokens`.
std::vector<std::vector<int32_t>> TokeniseItems(const Dataset& dataset, const Tokenizer& tokenizer,
                                                const CatalogueOptions& options, int32_t first,
                                                int32_t last);

// Nothing when there is no such file, or it is not whole or was made from other inputs.
std::optional<Catalogue> ReadCatalogueCache(const Dataset& dataset, const Tokenizer& tokenizer,
                                            const CatalogueOptions& options,
                                            const std::string& cache_path);
absl::Status WriteCatalogueCache(const Catalogue& catalogue, const Dataset& dataset,
                                 const Tokenizer& tokenizer, const CatalogueOptions& options,
                                 const std::string& cache_path);

}  // namespace mixrec::data
