#include "data/page_text.h"

#include <array>
#include <charconv>
#include <cstdint>
#include <utility>

#include "data/utf8.h"

namespace mixrec::data {
namespace {

constexpr std::array<std::pair<std::string_view, uint32_t>, 22> kEntities{{
    {"amp", '&'},       {"lt", '<'},       {"gt", '>'},       {"quot", '"'},     {"apos", '\''},
    {"nbsp", ' '},      {"copy", 0xA9},    {"reg", 0xAE},     {"trade", 0x2122}, {"deg", 0xB0},
    {"eacute", 0xE9},   {"ouml", 0xF6},    {"frac12", 0xBD},  {"frac14", 0xBC},  {"ndash", 0x2013},
    {"mdash", 0x2014},  {"lsquo", 0x2018}, {"rsquo", 0x2019}, {"ldquo", 0x201C}, {"rdquo", 0x201D},
    {"hellip", 0x2026}, {"bull", 0x2022},
}};
constexpr size_t kLongestEntity = 10;
constexpr uint32_t kLastCodePoint = 0x10FFFF;

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// The code point of `name` in `&name;`; 0 when it is none.
uint32_t EntityValue(std::string_view name) {
  for (const auto& [known, value] : kEntities) {
    if (name == known) return value;
  }
  if (name.size() < 2 || name[0] != '#') return 0;
  const bool hexadecimal = name[1] == 'x' || name[1] == 'X';
  name.remove_prefix(hexadecimal ? 2 : 1);
  uint32_t value = 0;
  const auto read =
      std::from_chars(name.data(), name.data() + name.size(), value, hexadecimal ? 16 : 10);
  const bool whole = read.ec == std::errc() && read.ptr == name.data() + name.size();
  const bool surrogate = value >= 0xD800 && value < 0xE000;
  return whole && value <= kLastCodePoint && !surrogate ? value : 0;
}

std::string DecodeEntities(std::string_view text) {
  std::string decoded;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '&') {
      const size_t end = text.substr(at, kLongestEntity + 2).find(';');
      const uint32_t value =
          end == std::string_view::npos ? 0 : EntityValue(text.substr(at + 1, end - 1));
      if (value != 0) {
        AppendUtf8(value, &decoded);
        at += end;
        continue;
      }
    }
    decoded += text[at];
  }
  return decoded;
}

// Tags become a space: words on both sides stay apart.
std::string WithoutTags(std::string_view text) {
  std::string bare;
  for (size_t at = 0; at < text.size(); ++at) {
    const char next = at + 1 < text.size() ? text[at + 1] : ' ';
    const bool begins = text[at] == '<' && (IsLetter(next) || next == '/' || next == '!');
    const size_t end = begins ? text.find('>', at) : std::string_view::npos;
    if (end == std::string_view::npos) {
      bare += text[at];
    } else {
      bare += ' ';
      at = end;
    }
  }
  return bare;
}

std::string WithSingleSpaces(std::string_view text) {
  std::string joined;
  for (const char c : text) {
    const bool blank = static_cast<unsigned char>(c) <= ' ' || c == '\x7F';
    if (!blank) {
      joined += c;
    } else if (!joined.empty() && joined.back() != ' ') {
      joined += ' ';
    }
  }
  if (!joined.empty() && joined.back() == ' ') joined.pop_back();
  return joined;
}

}  // namespace

std::string PageText(std::string_view html) {
  // Tags are looked for before and after decoding: shops store both `<b>` and `&lt;b&gt;`.
  const std::string once = DecodeEntities(WithoutTags(html));
  return WithSingleSpaces(DecodeEntities(WithoutTags(once)));
}

}  // namespace mixrec::data
