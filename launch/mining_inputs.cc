#include "launch/mining_inputs.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/file.h"
#include "data/text_pieces.h"
#include "data/utf8.h"
#include "launch/flags.h"
#include "launch/flags_mine.h"
#include "launch/options.h"

namespace mixrec::launch {

namespace {

// Of every item's description, without the column's name that a sentence begins with.
absl::StatusOr<std::vector<std::string>> DescriptionPieces() {
  if (FLAGS_description_field.empty()) {
    return UsageError("--description_pieces needs a --description_field");
  }
  data::DatasetOptions options = DatasetOptionsOfFlags();
  options.item_fields = {FLAGS_description_field};
  MIXREC_ASSIGN_OR_RETURN(const data::Dataset dataset, data::LoadDataset(options));
  std::vector<std::string> descriptions;
  for (int32_t item = 0; item < dataset.items(); ++item) {
    descriptions.emplace_back(
        absl::StripPrefix(dataset.sentence(item), FLAGS_description_field + " "));
  }
  data::TextPieceOptions pieces;
  pieces.per_text = FLAGS_description_pieces;
  return data::TextPieces(descriptions, pieces);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ExtraTexts() {
  std::vector<std::string> texts;
  for (const std::string& path : SplitList(FLAGS_extra_text)) {
    MIXREC_ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
    for (absl::string_view line : absl::StrSplit(content, '\n')) {
      const absl::string_view text = absl::StripAsciiWhitespace(line);
      if (!text.empty()) texts.push_back(data::RepairUtf8({text.data(), text.size()}));
    }
  }
  if (FLAGS_description_pieces > 0) {
    MIXREC_ASSIGN_OR_RETURN(const std::vector<std::string> pieces, DescriptionPieces());
    texts.insert(texts.end(), pieces.begin(), pieces.end());
  }
  return texts;
}

absl::StatusOr<std::vector<mining::DistillationText>> DistillationTexts(
    const data::Dataset& dataset) {
  data::DatasetOptions options = DatasetOptionsOfFlags();
  if (!FLAGS_description_field.empty()) options.item_fields.push_back(FLAGS_description_field);
  MIXREC_ASSIGN_OR_RETURN(const data::Dataset full, data::LoadDataset(options));
  std::vector<mining::DistillationText> texts;
  for (int32_t item = 0; item < dataset.items(); ++item) {
    texts.push_back({dataset.sentence(item), full.sentence(item)});
  }
  MIXREC_ASSIGN_OR_RETURN(const std::vector<std::string> extra, ExtraTexts());
  for (const std::string& text : extra) texts.push_back({text, text});
  return texts;
}

}  // namespace mixrec::launch
