// The commands of the program: their names, what they do, and the flags that each takes.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "launch/flag_table.h"

namespace mixrec::launch {

struct FlagGroup {
  std::string title;
  std::vector<std::string> flags;
};

struct Verb {
  std::string name;     // "train", "bench step"
  std::string usage;    // what usually follows the name
  std::string summary;  // one line
  std::string details;  // a paragraph for `mixrec help VERB`
  std::vector<FlagGroup> groups;
  // Defaults that differ from the flag's own: (flag, value).
  std::vector<std::pair<std::string, std::string>> defaults;
};

// In the order of a user's work.
std::vector<Verb> Verbs();

// Null when there is no such command.
const Verb* FindVerb(const std::vector<Verb>& verbs, std::string_view name);

// Every flag that some command takes, with the defaults it has for `verb`. CHECKs that each is
// defined.
FlagTable MakeFlagTable(const std::vector<Verb>& verbs, std::string_view verb);

}  // namespace mixrec::launch
