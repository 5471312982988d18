// What `mixrec mine` works on, as its flags say.
#pragma once

#include <string>
#include <vector>

#include "common/status.h"
#include "data/dataset.h"
#include "mining/distillation.h"

namespace mixrec::launch {

// The lines of the files of --extra_text that are not blank, invalid UTF-8 repaired; then the
// pieces of items' descriptions, --description_pieces of each.
absl::StatusOr<std::vector<std::string>> ExtraTexts();

// The items' sentences with their longer forms, then the extra texts.
absl::StatusOr<std::vector<mining::DistillationText>> DistillationTexts(
    const data::Dataset& dataset);

}  // namespace mixrec::launch
