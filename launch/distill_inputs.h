// What `mixrec pretrain --distill` adds to the texts.
#pragma once

#include <string>
#include <vector>

#include "common/status.h"
#include "data/dataset.h"
#include "data/tokenizer.h"
#include "launch/options.h"
#include "model/pretrain.h"

namespace mixrec::launch {

// Fills distilled, targets and, with --distill_words, word_start of `inputs` from --distill, for
// these texts, the items' sentences and --extra_text; a folder given as --distill encodes them now,
// into OUT/distillation.safetensors.
absl::Status AddDistillation(const data::Dataset& dataset, const std::vector<std::string>& texts,
                             const data::Tokenizer& tokenizer, const Compute& compute,
                             model::PretrainInputs* inputs);

}  // namespace mixrec::launch
