#include "data/pretokenizer.h"

#include <unicode/uchar.h>

#include <array>

#include "data/utf8.h"

namespace mixrec::data {
namespace {

enum class CharacterClass : unsigned char { kLetter, kNumber, kSpace, kOther };

constexpr std::array<CharacterClass, 128> AsciiClasses() {
  std::array<CharacterClass, 128> classes{};
  for (int c = 0; c < 128; ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool space = c == ' ' || (c >= '\t' && c <= '\r');
    classes[static_cast<size_t>(c)] = letter                 ? CharacterClass::kLetter
                                      : c >= '0' && c <= '9' ? CharacterClass::kNumber
                                      : space                ? CharacterClass::kSpace
                                                             : CharacterClass::kOther;
  }
  return classes;
}
constexpr std::array<CharacterClass, 128> kAsciiClasses = AsciiClasses();

struct Character {
  CharacterClass kind = CharacterClass::kOther;
  size_t length = 1;
};

Character CharacterAt(std::string_view text, size_t position) {
  const auto byte = static_cast<unsigned char>(text[position]);
  if (byte < 128) return {kAsciiClasses[byte], 1};
  const CodePoint point = DecodeCodePoint(text, position);
  if (point.value == kInvalidCodePoint) return {CharacterClass::kOther, 1};
  const uint32_t category = U_GET_GC_MASK(point.value);
  if (category & U_GC_L_MASK) return {CharacterClass::kLetter, point.length};
  if (category & U_GC_N_MASK) return {CharacterClass::kNumber, point.length};
  if (u_isUWhiteSpace(point.value)) return {CharacterClass::kSpace, point.length};
  return {CharacterClass::kOther, point.length};
}

// End of the run of characters of `kind` that starts at `position`.
size_t RunEnd(std::string_view text, size_t position, CharacterClass kind) {
  while (position < text.size()) {
    const Character next = CharacterAt(text, position);
    if (next.kind != kind) break;
    position += next.length;
  }
  return position;
}

// Length of 's 't 're 've 'm 'll 'd at the head of the text, 0 for none.
size_t ContractionLength(std::string_view text) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  const char first = text[1];
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  if (text.size() < 3) return 0;
  const std::string_view two = text.substr(1, 2);
  return two == "re" || two == "ve" || two == "ll" ? 3 : 0;
}

// \s+(?!\S)|\s+: a run of spaces leaves its last one to the word that follows.
size_t SpacesLength(std::string_view text) {
  size_t end = 0, last = 0;
  while (end < text.size()) {
    const Character next = CharacterAt(text, end);
    if (next.kind != CharacterClass::kSpace) return last > 0 ? last : end;
    last = end;
    end += next.length;
  }
  return end;
}

}  // namespace

size_t FirstWordLength(std::string_view text) {
  if (const size_t length = ContractionLength(text)) return length;
  const size_t start = text[0] == ' ' && text.size() > 1 ? 1 : 0;
  const Character first = CharacterAt(text, start);
  if (first.kind == CharacterClass::kSpace) return SpacesLength(text);
  return RunEnd(text, start + first.length, first.kind);
}

}  // namespace mixrec::data
