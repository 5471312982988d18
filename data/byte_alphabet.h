// GPT-2 writes each byte of a token as a printable character: printable Latin-1 bytes as
// themselves, the other 68 as U+0100 and up. Private to data/.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mixrec::data {

// The bytes as their characters, in UTF-8.
std::string BytesToAlphabet(std::string_view bytes);

// The bytes that the characters stand for; nothing when one of them stands for no byte.
std::optional<std::string> AlphabetToBytes(std::string_view text);

}  // namespace mixrec::data
