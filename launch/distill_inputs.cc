#include "launch/distill_inputs.h"

#include <cmath>
#include <filesystem>

#include "common/file.h"
#include "data/utf8.h"
#include "data/wordpiece.h"
#include "launch/flags.h"
#include "launch/flags_mine.h"
#include "launch/mining_inputs.h"
#include "model/distillation.h"

namespace mixrec::launch {
namespace {

// The file with the vectors; made when --distill is an encoder's folder.
absl::StatusOr<std::string> VectorsFile(const data::Dataset& dataset, const Compute& compute) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(FLAGS_distill, ignored)) return FLAGS_distill;
  const std::string path = StrCat(FLAGS_out, "/distillation.safetensors");
  MIXREC_ASSIGN_OR_RETURN(const mining::TextEncoder encoder,
                          mining::LoadTextEncoder(FLAGS_distill, compute.device, at::kFloat));
  MIXREC_ASSIGN_OR_RETURN(const auto texts, DistillationTexts(dataset));
  MIXREC_RETURN_IF_ERROR(mining::WriteTextVectors(encoder, texts, FLAGS_bert_tokens, path));
  return path;
}

// For each token of the language model the mean of the word vectors of the pieces that the encoder
// reads in its text; NaN for what has no text of its own, such as a part of a character.
absl::StatusOr<at::Tensor> WordStart(const model::Distillation& distillation,
                                     const data::Tokenizer& tokenizer) {
  const int64_t width = distillation.word_vectors.size(1);
  if (width != FLAGS_hidden) {
    return UsageError("--hidden=", FLAGS_hidden, " differs from the encoder's width ", width,
                      "; use that, or --distill_words=false");
  }
  data::WordPieceOptions options;
  options.lower_case = distillation.lower_case;
  MIXREC_ASSIGN_OR_RETURN(const data::WordPieceTokenizer pieces,
                          data::WordPieceTokenizer::FromTokens(distillation.vocabulary, options));
  const at::Tensor words = distillation.word_vectors.to(at::kFloat);
  at::Tensor start = at::full({tokenizer.vocab_size(), width}, NAN, at::kFloat);
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string text = tokenizer.Decode({id});
    if (!data::IsUtf8(text)) continue;
    const std::vector<int32_t> ids = pieces.Encode(text, 64);
    if (ids.size() <= 2) continue;  // [CLS] and [SEP]
    const std::vector<int64_t> rows(ids.begin() + 1, ids.end() - 1);
    start[id].copy_(words.index_select(0, at::tensor(rows, at::kLong)).mean(0));
  }
  return start;
}

}  // namespace

absl::Status AddDistillation(const data::Dataset& dataset, const std::vector<std::string>& texts,
                             const data::Tokenizer& tokenizer, const Compute& compute,
                             model::PretrainInputs* inputs) {
  MIXREC_ASSIGN_OR_RETURN(const std::string path, VectorsFile(dataset, compute));
  MIXREC_ASSIGN_OR_RETURN(const model::Distillation distillation, model::ReadDistillation(path));
  const auto targets = model::NormalisedTextVectors(distillation, texts);
  if (!targets.ok()) return DataError(path, ": ", targets.status().message());
  inputs->targets = *targets;
  for (const std::string& text : texts) inputs->distilled.push_back(tokenizer.Encode(text));
  if (!FLAGS_distill_words) return absl::OkStatus();
  MIXREC_ASSIGN_OR_RETURN(inputs->word_start, WordStart(distillation, tokenizer));
  return absl::OkStatus();
}

}  // namespace mixrec::launch
