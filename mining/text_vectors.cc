#include "mining/text_vectors.h"

#include <ATen/Parallel.h>

#include <algorithm>

namespace mixrec::mining {

absl::StatusOr<TextEncoder> LoadTextEncoder(const std::string& folder, at::Device device,
                                            at::ScalarType dtype) {
  MIXREC_ASSIGN_OR_RETURN(data::WordPieceTokenizer tokenizer,
                          data::WordPieceTokenizer::Load(folder));
  MIXREC_ASSIGN_OR_RETURN(model::Bert bert, model::LoadBert(folder, device, dtype));
  if (tokenizer.vocab_size() > bert.config.vocab_size) {
    return DataError(folder, ": vocab.txt has ", tokenizer.vocab_size(), " tokens, the weights ",
                     bert.config.vocab_size, " word vectors; they do not belong together");
  }
  if (bert.config.max_positions < 2) {
    return DataError(folder, ": an encoder of one position has no room for [CLS] and [SEP]");
  }
  return TextEncoder{std::move(bert), std::move(tokenizer)};
}

at::Tensor EncodeTexts(const TextEncoder& encoder, const std::vector<std::string>& texts,
                       int64_t max_tokens) {
  const auto limit =
      static_cast<int>(std::clamp<int64_t>(max_tokens, 2, encoder.bert.config.max_positions));
  std::vector<std::vector<int32_t>> ids(texts.size());
  at::parallel_for(0, static_cast<int64_t>(texts.size()), 16, [&](int64_t begin, int64_t end) {
    for (auto k = static_cast<size_t>(begin); k < static_cast<size_t>(end); ++k) {
      ids[k] = encoder.tokenizer.Encode(texts[k], limit);
    }
  });
  return model::BertMeans(encoder.bert, ids);
}

}  // namespace mixrec::mining
