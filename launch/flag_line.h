// The text of one flag: as a word of the command line, and as a line of a flag file.
#pragma once

#include <string>
#include <string_view>

#include "common/status.h"

namespace mixrec::launch {

struct WrittenFlag {
  std::string name, value;
  bool has_value = false;  // an "=" was there
};

// Splits "--name=value", "--name" or the same with one dash. False when the word is no flag.
bool SplitFlag(std::string_view word, WrittenFlag* written);

// One line: blank, a comment ("# ..."), or "--name=value" with an optional trailing comment; the
// value may stand in double quotes, with \" and \\ inside. An empty name says that nothing was
// there. UsageErrors start with `where` ("file:line: ").
absl::StatusOr<WrittenFlag> ParseFlagFileLine(std::string_view line, const std::string& where);

// The message of a Status without its code.
std::string StatusText(const absl::Status& status);

}  // namespace mixrec::launch
