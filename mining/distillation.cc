#include "mining/distillation.h"

#include <filesystem>

#include "common/file.h"
#include "mining/vector_file.h"
#include "model/distillation.h"
#include "nlohmann/json.hpp"

namespace mixrec::mining {
namespace {

using Form = std::string DistillationText::*;

// The texts whose two forms differ.
std::vector<int64_t> WithTwoForms(const std::vector<DistillationText>& texts) {
  std::vector<int64_t> rows;
  for (size_t row = 0; row < texts.size(); ++row) {
    if (texts[row].full != texts[row].sentence) rows.push_back(static_cast<int64_t>(row));
  }
  return rows;
}

std::string HashOf(const std::vector<DistillationText>& texts, Form form) {
  std::string all;
  for (const DistillationText& text : texts) all += text.*form + '\n';
  return ContentHash(all);
}

absl::StatusOr<at::Tensor> VectorsOf(const TextEncoder& encoder,
                                     const std::vector<DistillationText>& texts, Form form,
                                     int64_t max_tokens, const std::string& path,
                                     const std::function<void(int64_t)>& progress) {
  VectorFileOptions options;
  options.path = path;
  options.rows = static_cast<int64_t>(texts.size());
  options.made_from = nlohmann::ordered_json{{"encoder", encoder.bert.content_hash},
                                             {"max_tokens", max_tokens},
                                             {"texts", HashOf(texts, form)}}
                          .dump();
  const auto make = [&](int64_t first, int64_t count) -> absl::StatusOr<at::Tensor> {
    std::vector<std::string> block;
    for (int64_t k = first; k < first + count; ++k) {
      block.push_back(texts[static_cast<size_t>(k)].*form);
    }
    return EncodeTexts(encoder, block, max_tokens);
  };
  return LoadOrMakeVectors(options, make, progress);
}

}  // namespace

absl::Status WriteTextVectors(const TextEncoder& encoder,
                              const std::vector<DistillationText>& texts, int64_t max_tokens,
                              const std::string& path,
                              const std::function<void(int64_t)>& progress) {
  const std::string sentences = path + ".sentences", full = path + ".full";
  const auto total = static_cast<int64_t>(texts.size());
  const std::vector<int64_t> rows = WithTwoForms(texts);
  std::vector<DistillationText> longer;
  for (const int64_t row : rows) longer.push_back(texts[static_cast<size_t>(row)]);
  MIXREC_ASSIGN_OR_RETURN(
      const at::Tensor of_sentences,
      VectorsOf(encoder, texts, &DistillationText::sentence, max_tokens, sentences, progress));
  model::Distillation result;
  for (const DistillationText& text : texts) {
    result.text_keys.push_back(model::TextKey(text.sentence));
  }
  result.text_vectors = of_sentences;
  if (!rows.empty()) {
    const int64_t before = 2 * total - static_cast<int64_t>(longer.size());
    MIXREC_ASSIGN_OR_RETURN(
        const at::Tensor of_full,
        VectorsOf(encoder, longer, &DistillationText::full, max_tokens, full, [&](int64_t done) {
          if (progress) progress(before + done);
        }));
    const at::Tensor two_forms = at::tensor(rows, at::kLong);
    result.text_vectors.index_copy_(0, two_forms,
                                    (of_sentences.index_select(0, two_forms) + of_full) / 2);
  }
  result.vocabulary = encoder.tokenizer.tokens();
  result.lower_case = encoder.tokenizer.lower_case();
  result.word_vectors = encoder.bert.word_embedding.cpu();
  result.encoder_hash = encoder.bert.content_hash;
  MIXREC_RETURN_IF_ERROR(model::WriteDistillation(path, result));
  std::error_code ignored;
  std::filesystem::remove(sentences, ignored);
  std::filesystem::remove(full, ignored);
  return absl::OkStatus();
}

}  // namespace mixrec::mining
