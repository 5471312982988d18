// UTF-8: decoding one code point, checking and repairing whole texts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mixrec::data {

inline constexpr int32_t kInvalidCodePoint = -1;

// The code point at `text[position]` (position < text.size()) and its length in bytes. For bytes
// that are not UTF-8 (overlong forms, surrogates, truncated sequences): kInvalidCodePoint,
// length 1.
struct CodePoint {
  int32_t value = kInvalidCodePoint;
  size_t length = 1;
};
CodePoint DecodeCodePoint(std::string_view text, size_t position);

bool IsUtf8(std::string_view text);

// The text with each invalid byte replaced by U+FFFD.
std::string RepairUtf8(std::string_view text);

// Appends a code point, at most 0x10FFFF, as UTF-8.
void AppendUtf8(uint32_t code_point, std::string* text);

}  // namespace mixrec::data
