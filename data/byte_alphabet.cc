#include "data/byte_alphabet.h"

#include <array>

#include "data/utf8.h"

namespace mixrec::data {
namespace {

constexpr size_t kCharacters = 0x100 + 68;

struct Alphabet {
  std::array<uint16_t, 256> character{};
  std::array<int16_t, kCharacters> byte{};
};

constexpr Alphabet MakeAlphabet() {
  Alphabet alphabet;
  for (auto& byte : alphabet.byte) byte = -1;
  uint16_t next = 0x100;
  for (uint16_t b = 0; b < 256; ++b) {
    const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    alphabet.character[b] = printable ? b : next++;
    alphabet.byte[alphabet.character[b]] = static_cast<int16_t>(b);
  }
  return alphabet;
}
constexpr Alphabet kAlphabet = MakeAlphabet();

}  // namespace

std::string BytesToAlphabet(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    AppendUtf8(kAlphabet.character[static_cast<unsigned char>(byte)], &text);
  }
  return text;
}

std::optional<std::string> AlphabetToBytes(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = DecodeCodePoint(text, i);
    if (point.value < 0 || point.value >= static_cast<int32_t>(kCharacters)) return std::nullopt;
    const int16_t byte = kAlphabet.byte[static_cast<size_t>(point.value)];
    if (byte < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(byte));
    i += point.length;
  }
  return bytes;
}

}  // namespace mixrec::data
