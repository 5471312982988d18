#include "model/distillation.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/log.h"
#include "common/random.h"
#include "model/safetensors.h"

namespace mixrec::model {
namespace {

constexpr const char* kFormat = "mixrec distillation 1";

absl::StatusOr<at::Tensor> Take(SafetensorsFile* file, const std::string& path, const char* name,
                                at::ScalarType dtype, int64_t dimensions) {
  const TensorInfo* info = file->Find(name);
  if (info == nullptr || info->dtype != dtype ||
      info->shape.size() != static_cast<size_t>(dimensions)) {
    return DataError(path, ": tensor \"", name, "\" is missing or of another type");
  }
  return file->Get(name);
}

absl::StatusOr<std::vector<std::string>> ReadVocabulary(const std::string& path,
                                                        const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_array()) return DataError(path, ": the vocabulary is no list");
  std::vector<std::string> vocabulary;
  for (const auto& token : json) {
    if (!token.is_string()) return DataError(path, ": the vocabulary is no list of texts");
    vocabulary.push_back(token.get<std::string>());
  }
  return vocabulary;
}

absl::Status CheckSizes(const std::string& path, const Distillation& distillation) {
  const auto& vectors = distillation.text_vectors;
  const auto& words = distillation.word_vectors;
  if (vectors.size(0) != static_cast<int64_t>(distillation.text_keys.size()) ||
      words.size(0) < static_cast<int64_t>(distillation.vocabulary.size()) ||
      vectors.size(1) != words.size(1) || vectors.size(1) == 0) {
    return DataError(path, ": its tensors do not fit each other; make the file again");
  }
  return absl::OkStatus();
}

}  // namespace

int64_t TextKey(std::string_view text) { return static_cast<int64_t>(HashName(text)); }

absl::Status WriteDistillation(const std::string& path, const Distillation& distillation) {
  const auto keys = at::tensor(distillation.text_keys, at::kLong);
  return WriteSafetensors(path,
                          {{"text_keys", keys},
                           {"text_vectors", distillation.text_vectors.to(at::kHalf)},
                           {"word_vectors", distillation.word_vectors.to(at::kHalf)}},
                          {{"format", kFormat},
                           {"encoder", distillation.encoder_hash},
                           {"lower_case", distillation.lower_case ? "true" : "false"},
                           {"vocabulary", nlohmann::json(distillation.vocabulary).dump()}});
}

absl::StatusOr<Distillation> ReadDistillation(const std::string& path) {
  MIXREC_ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open(path));
  const auto field = [&](const char* name) {
    const auto found = file.metadata().find(name);
    return found == file.metadata().end() ? std::string() : found->second;
  };
  if (field("format") != kFormat) {
    return DataError(path,
                     ": no vectors for distillation of this version; write them with "
                     "mixrec mine --vectors_out");
  }
  Distillation result;
  MIXREC_ASSIGN_OR_RETURN(const at::Tensor keys, Take(&file, path, "text_keys", at::kLong, 1));
  MIXREC_ASSIGN_OR_RETURN(result.text_vectors, Take(&file, path, "text_vectors", at::kHalf, 2));
  MIXREC_ASSIGN_OR_RETURN(result.word_vectors, Take(&file, path, "word_vectors", at::kHalf, 2));
  MIXREC_ASSIGN_OR_RETURN(result.vocabulary, ReadVocabulary(path, field("vocabulary")));
  const int64_t* values = keys.data_ptr<int64_t>();
  result.text_keys.assign(values, values + keys.size(0));
  result.lower_case = field("lower_case") == "true";
  result.encoder_hash = field("encoder");
  MIXREC_RETURN_IF_ERROR(CheckSizes(path, result));
  return result;
}

absl::StatusOr<at::Tensor> NormalisedTextVectors(const Distillation& distillation,
                                                 const std::vector<std::string>& texts) {
  std::unordered_map<int64_t, int64_t> rows;
  for (size_t row = 0; row < distillation.text_keys.size(); ++row) {
    rows.emplace(distillation.text_keys[row], static_cast<int64_t>(row));
  }
  std::vector<int64_t> wanted;
  for (const std::string& text : texts) {
    const auto found = rows.find(TextKey(text));
    if (found == rows.end()) {
      return DataError("no vector for the text \"", text.substr(0, 60),
                       "\"; write the vectors with the same data, filter, fields and extra text");
    }
    wanted.push_back(found->second);
  }
  const at::Tensor vectors =
      distillation.text_vectors.index_select(0, at::tensor(wanted, at::kLong)).to(at::kFloat);
  const at::Tensor centred = vectors - vectors.mean(0, /*keepdim=*/true);
  return centred / centred.norm(2, 1, /*keepdim=*/true).clamp_min(1e-12);
}

}  // namespace mixrec::model
