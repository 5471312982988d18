// The catalogue of a group of ranks: each tokenises a part of the items.
#pragma once

#include <string>

#include "collective/group.h"
#include "common/status.h"
#include "data/catalogue.h"

namespace mixrec::worker {

// What data::LoadOrBuildCatalogue returns, on every rank. The cache file is rank 0's to judge and
// to write; who does not see it tokenises all by himself. All ranks fail alike.
absl::StatusOr<data::Catalogue> SharedCatalogue(collective::Group* group,
                                                const data::Dataset& dataset,
                                                const data::Tokenizer& tokenizer,
                                                const data::CatalogueOptions& options,
                                                const std::string& cache_path);

}  // namespace mixrec::worker
