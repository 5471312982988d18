// Writes what pre-training is distilled towards (model/distillation.h).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/status.h"
#include "mining/text_vectors.h"

namespace mixrec::mining {

// A text that the language model reads and the longer one that says more of the same item; equal
// when there is none.
struct DistillationText {
  std::string sentence, full;
};

// A text's vector is the mean of the encoder's vectors of both its forms. Goes on from
// PATH.sentences and PATH.full, which it removes at the end. `progress` gets the encoded forms of
// 2 * texts.size().
absl::Status WriteTextVectors(const TextEncoder& encoder,
                              const std::vector<DistillationText>& texts, int64_t max_tokens,
                              const std::string& path,
                              const std::function<void(int64_t)>& progress = {});

}  // namespace mixrec::mining
