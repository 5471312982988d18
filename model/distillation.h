// What pre-training is distilled towards: sentence vectors of texts and the word vectors of the
// encoder they came from, in fp16, so that the machine that trains needs no encoder
// (docs/hard_samples.md).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/status.h"

namespace mixrec::model {

struct Distillation {
  std::vector<int64_t> text_keys;       // [N] TextKey of each text
  at::Tensor text_vectors;              // [N, D] fp16 on the CPU
  std::vector<std::string> vocabulary;  // [V] word pieces
  at::Tensor word_vectors;              // [V, D] fp16 on the CPU
  bool lower_case = true;               // of the word pieces
  std::string encoder_hash;
};

// A text's name in the file.
int64_t TextKey(std::string_view text);

// Atomically, as safetensors.
absl::Status WriteDistillation(const std::string& path, const Distillation& distillation);
// DataError names the file and what is wrong with it.
absl::StatusOr<Distillation> ReadDistillation(const std::string& path);

// The vectors of these texts, minus their mean, of length 1: [texts, D] fp32. DataError names the
// first text without a vector.
absl::StatusOr<at::Tensor> NormalisedTextVectors(const Distillation& distillation,
                                                 const std::vector<std::string>& texts);

}  // namespace mixrec::model
