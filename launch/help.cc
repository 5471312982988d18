#include "launch/help.h"

#include <algorithm>
#include <sstream>

#include "absl/strings/str_format.h"
#include "common/status.h"

namespace mixrec::launch {
namespace {

constexpr size_t kColumns = 100;

// Words of `text` in lines of at most kColumns, every line after the first indented.
std::string Wrap(const std::string& text, size_t first_column, size_t indent) {
  std::istringstream words(text);
  std::string word, wrapped;
  size_t column = first_column;
  while (words >> word) {
    const bool fits = column + word.size() + 1 <= kColumns;
    if (!wrapped.empty()) {
      wrapped += fits ? " " : StrCat("\n", std::string(indent, ' '));
      column = fits ? column + 1 : indent;
    }
    wrapped += word;
    column += word.size();
  }
  return wrapped;
}

std::string DefaultOf(const Flag& flag) {
  if (flag.type == FlagType::kBool)
    return StrCat("--", flag.name, flag.default_value == "true" ? "=true" : "");
  return StrCat("--", flag.name, "=", flag.default_value);
}

std::string FlagLines(const Flag& flag, size_t column) {
  std::string head = StrCat("  ", DefaultOf(flag));
  head += head.size() + 2 <= column ? std::string(column - head.size(), ' ')
                                    : StrCat("\n", std::string(column, ' '));
  return StrCat(head, Wrap(flag.help, column, column), "\n");
}

}  // namespace

std::string ProgramHelp(const std::vector<Verb>& verbs) {
  std::string text =
      "mixrec: sequential recommendation with a frozen language model, adapters in a mixture of\n"
      "experts, and a Bayesian search for their architecture.\n\nUsage: mixrec COMMAND "
      "--flag=value ... [--flagfile=FILE]\n\nCommands:\n";
  for (const Verb& verb : verbs) {
    text += StrCat("  ", absl::StrFormat("%-16s", verb.name), Wrap(verb.summary, 18, 18), "\n");
  }
  text +=
      "  help            this text, or `mixrec help COMMAND` for a command and its flags\n"
      "  version         version and build of this program\n\n"
      "Exit codes: 0 done, 2 usage, 3 data, 4 memory, 75 stopped with a checkpoint (run the "
      "same\ncommand again), anything else a failure.\n";
  return text;
}

std::string VerbHelp(const Verb& verb, const FlagTable& table) {
  std::string text = StrCat("mixrec ", verb.name, ": ", verb.summary, ".\n\nUsage: mixrec ",
                            verb.name, " ", verb.usage, "\n");
  if (!verb.details.empty()) text += StrCat("\n", Wrap(verb.details, 0, 0), "\n");
  text +=
      "\nFlags with their defaults (--flag=value; `--flagfile=FILE` reads them from a file, one "
      "a line):\n";
  for (const FlagGroup& group : verb.groups) {
    text += StrCat("\n", group.title, "\n");
    for (const std::string& name : group.flags) text += FlagLines(*table.Find(name), 30);
  }
  return text;
}

}  // namespace mixrec::launch
