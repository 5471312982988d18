// What the program knows of its flags, free of gflags' globals: names, types, defaults, allowed
// values, and which commands take them. The reader, the help and the run folder work on this table.
#pragma once

#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace mixrec::launch {

enum class FlagType { kBool, kInteger, kReal, kText };

// The values a flag may take, beyond its type. An empty list of choices allows any text.
struct FlagRange {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false, high_open = false;  // the bound itself is not allowed
  std::vector<std::string> choices;
};

struct Flag {
  std::string name;
  FlagType type = FlagType::kText;
  std::string default_value;
  std::string help;
  FlagRange range;
  std::vector<std::string> verbs;  // the commands that take it
};

class FlagTable {
 public:
  void Add(Flag flag);
  // Null when no command has such a flag.
  const Flag* Find(std::string_view name) const;
  bool Takes(std::string_view verb, std::string_view name) const;
  // The known name closest to a misspelt one, among the verb's own flags first; empty when none is
  // close.
  std::string Closest(std::string_view verb, std::string_view name) const;
  const std::map<std::string, Flag, std::less<>>& flags() const { return flags_; }

 private:
  std::map<std::string, Flag, std::less<>> flags_;
};

// Empty when the text is a value of the flag; else what is expected, e.g. "a whole number of at
// least 1".
std::string ExpectedInstead(const Flag& flag, std::string_view text);

// One text for each value of the flag, so that values compare as text: 1e-3 and .001 become 0.001,
// yes becomes true. The text must be a value of the flag.
std::string CanonicalText(const Flag& flag, std::string_view text);

// Number of single-character insertions, deletions, replacements and swaps of neighbours.
int EditDistance(std::string_view a, std::string_view b);

// "--batch", or the closest known text in the form " (did you mean --batch?)"; empty without one.
std::string DidYouMean(const std::string& closest);

}  // namespace mixrec::launch
