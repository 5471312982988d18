#include "launch/flag_line.h"

#include <cctype>

#include "launch/flag_reader.h"

namespace mixrec::launch {
namespace {

constexpr std::string_view kBlanks = " \t\r\v\f";

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

// Cuts a comment: a '#' at the start or after a blank.
std::string_view WithoutComment(std::string_view text) {
  for (size_t at = text.find('#'); at != std::string_view::npos; at = text.find('#', at + 1)) {
    if (at == 0 || kBlanks.find(text[at - 1]) != std::string_view::npos) return text.substr(0, at);
  }
  return text;
}

absl::StatusOr<std::string> Unquote(std::string_view quoted, const std::string& where) {
  std::string value;
  for (size_t i = 1; i < quoted.size(); ++i) {
    if (quoted[i] == '"') {
      if (!Trim(WithoutComment(quoted.substr(i + 1))).empty()) {
        return UsageError(where, "text after the closing quote: ", quoted.substr(i + 1));
      }
      return value;
    }
    const bool escaped = quoted[i] == '\\' && i + 1 < quoted.size();
    if (escaped) ++i;
    value += escaped && quoted[i] == 'n' ? '\n' : quoted[i];
  }
  return UsageError(where, "the quoted value ", quoted, " does not end");
}

}  // namespace

bool SplitFlag(std::string_view word, WrittenFlag* written) {
  if (word.size() < 2 || word[0] != '-') return false;
  word.remove_prefix(word[1] == '-' ? 2 : 1);
  if (word.empty() || !std::isalpha(static_cast<unsigned char>(word[0]))) return false;
  const size_t equals = word.find('=');
  written->has_value = equals != std::string_view::npos;
  written->name = std::string(word.substr(0, equals));
  written->value = written->has_value ? std::string(word.substr(equals + 1)) : "";
  return true;
}

absl::StatusOr<WrittenFlag> ParseFlagFileLine(std::string_view line, const std::string& where) {
  WrittenFlag written;
  std::string_view text = Trim(line);
  const size_t quote = text.find("=\"");
  const bool quoted = quote != std::string_view::npos && text.find_first_of(" \t#") > quote;
  if (!quoted) text = Trim(WithoutComment(text));
  if (text.empty()) return written;
  if (!SplitFlag(text, &written)) {
    return UsageError(where, "expected --name=value or a comment, found \"", text, "\"");
  }
  if (quoted) {
    MIXREC_ASSIGN_OR_RETURN(written.value, Unquote(text.substr(quote + 1), where));
    return written;
  }
  if (written.name.find_first_of(kBlanks) != std::string::npos) {
    const std::string name = written.name.substr(0, written.name.find_first_of(kBlanks));
    return UsageError(where, "expected --", name, "=VALUE, found \"", text, "\"");
  }
  for (std::string_view blank : {" --", "\t--"}) {
    if (written.value.find(blank) == std::string::npos) continue;
    return UsageError(where, "two flags in one line: \"", text, "\"; write one flag a line");
  }
  return written;
}

std::string FlagFileLine(std::string_view name, std::string_view value) {
  const bool plain = value.find_first_of(" \t\r\n\v\f#\"\\") == std::string_view::npos;
  if (plain) return StrCat("--", name, "=", value);
  std::string quoted;
  for (char c : value) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c == '\n' ? "\\n" : std::string(1, c);
  }
  return StrCat("--", name, "=\"", quoted, "\"");
}

std::string StatusText(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

}  // namespace mixrec::launch
