// BERT's basic tokenisation: from text to words.
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include "common/log.h"
#include "data/utf8.h"
#include "data/wordpiece.h"

namespace mixrec::data {
namespace {

bool IsSpace(UChar32 c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || u_isUWhiteSpace(c);
}

// Categories Cc, Cf, Cn, Co: nothing that is seen.
bool IsControl(UChar32 c) { return (U_GET_GC_MASK(c) & U_GC_C_MASK) != 0; }

bool IsPunctuation(UChar32 c) {
  // All ASCII symbols count, whatever Unicode says of them.
  if (c < 128) return c > ' ' && c < 127 && !u_isalnum(c);
  return (U_GET_GC_MASK(c) & U_GC_P_MASK) != 0;
}

// The blocks of CJK ideographs, of which every character is a word.
bool IsIdeograph(UChar32 c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

// Without what BERT drops; every kind of white space is one blank, ideographs stand apart.
icu::UnicodeString Cleaned(std::string_view text) {
  icu::UnicodeString cleaned;
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = DecodeCodePoint(text, i);
    i += point.length;
    const UChar32 c = point.value;
    if (c == kInvalidCodePoint || c == 0 || c == 0xFFFD) continue;
    if (c == '\t' || c == '\n' || c == '\r') {
      cleaned.append(u' ');
    } else if (IsControl(c)) {
      continue;
    } else if (IsSpace(c)) {
      cleaned.append(u' ');
    } else if (IsIdeograph(c)) {
      cleaned.append(u' ').append(c).append(u' ');
    } else {
      cleaned.append(c);
    }
  }
  return cleaned;
}

// Decomposed, without its combining marks, in lower case (character by character).
icu::UnicodeString LowerWithoutAccents(const icu::UnicodeString& text) {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* decompose = icu::Normalizer2::getNFDInstance(error);
  CHECK(U_SUCCESS(error)) << "ICU has no NFD: " << u_errorName(error);
  const icu::UnicodeString decomposed = decompose->normalize(text, error);
  CHECK(U_SUCCESS(error)) << "ICU cannot normalise: " << u_errorName(error);
  icu::UnicodeString plain;
  for (int32_t i = 0; i < decomposed.length(); i = decomposed.moveIndex32(i, 1)) {
    const UChar32 c = decomposed.char32At(i);
    if (u_charType(c) != U_NON_SPACING_MARK) plain.append(u_tolower(c));
  }
  return plain;
}

}  // namespace

std::vector<std::string> BasicTokens(std::string_view text, bool lower_case) {
  icu::UnicodeString cleaned = Cleaned(text);
  if (lower_case) cleaned = LowerWithoutAccents(cleaned);
  std::vector<std::string> words;
  std::string word;
  const auto finish = [&] {
    if (!word.empty()) words.push_back(std::move(word));
    word.clear();
  };
  for (int32_t i = 0; i < cleaned.length(); i = cleaned.moveIndex32(i, 1)) {
    const UChar32 c = cleaned.char32At(i);
    const bool alone = IsPunctuation(c);
    if (alone || IsSpace(c)) finish();
    if (!IsSpace(c)) AppendUtf8(static_cast<uint32_t>(c), &word);
    if (alone) finish();
  }
  finish();
  return words;
}

}  // namespace mixrec::data
