#include "data/utf8.h"

namespace mixrec::data {

CodePoint DecodeCodePoint(std::string_view text, size_t position) {
  const auto byte = [&](size_t k) { return static_cast<unsigned char>(text[position + k]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || position + length > text.size()) return {};
  int32_t value = lead & (0xFF >> (length + 1));
  for (size_t k = 1; k < length; ++k) {
    if ((byte(k) & 0xC0) != 0x80) return {};
    value = (value << 6) | (byte(k) & 0x3F);
  }
  constexpr int32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < kSmallest[length] || surrogate || value > 0x10FFFF) return {};
  return {value, length};
}

bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = DecodeCodePoint(text, i);
    if (point.value == kInvalidCodePoint) return false;
    i += point.length;
  }
  return true;
}

std::string RepairUtf8(std::string_view text) {
  std::string repaired;
  repaired.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = DecodeCodePoint(text, i);
    if (point.value == kInvalidCodePoint) {
      AppendUtf8(0xFFFD, &repaired);
    } else {
      repaired.append(text.substr(i, point.length));
    }
    i += point.length;
  }
  return repaired;
}

void AppendUtf8(uint32_t code_point, std::string* text) {
  if (code_point < 0x80) {
    text->push_back(static_cast<char>(code_point));
    return;
  }
  const int following = code_point < 0x800 ? 1 : code_point < 0x10000 ? 2 : 3;
  constexpr unsigned kLead[] = {0, 0xC0, 0xE0, 0xF0};
  text->push_back(static_cast<char>(kLead[following] | (code_point >> (6 * following))));
  for (int k = following - 1; k >= 0; --k) {
    text->push_back(static_cast<char>(0x80 | ((code_point >> (6 * k)) & 0x3F)));
  }
}

}  // namespace mixrec::data
