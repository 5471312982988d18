// BERT vectors of texts: the mean of a text's token states (paper Appendix A).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>

#include "common/status.h"
#include "data/wordpiece.h"
#include "model/bert.h"

namespace mixrec::mining {

struct TextEncoder {
  model::Bert bert;
  data::WordPieceTokenizer tokenizer;
};

// The weights and vocabulary in FOLDER. DataError when the vocabulary has more tokens than the
// weights have word vectors.
absl::StatusOr<TextEncoder> LoadTextEncoder(const std::string& folder, at::Device device,
                                            at::ScalarType dtype);

// [texts, D] fp32 on the CPU. Texts are cut after `max_tokens`, [CLS] and [SEP] included, or after
// the encoder's positions when those are fewer.
at::Tensor EncodeTexts(const TextEncoder& encoder, const std::vector<std::string>& texts,
                       int64_t max_tokens);

}  // namespace mixrec::mining
