// Strict reading of the command line and of flag files (docs/flags.md).
//
// gflags ignores an unknown name inside a flag file and lets a flag file overrule what stands left
// of it; here every name, value and stray word is checked, errors name file and line, and the
// command line wins over flag files whatever the order.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "launch/flag_table.h"

namespace mixrec::launch {

// Where a value was written; line 0 is the command line.
struct FlagOrigin {
  std::string file;
  int line = 0;

  // "configs/arts.flags:3: ", empty for the command line.
  std::string Prefix() const { return line == 0 ? "" : StrCat(file, ":", line, ": "); }
};

struct FlagAssignment {
  std::string name, value;
  FlagOrigin origin;
};

// The assignments for `verb` in the order in which they count: a later one overrules an earlier
// one. In a flag file, a flag that only other commands take is checked and left out, so that one
// file serves search, train and evaluate; on the command line it is an error. All errors are
// UsageErrors, but for a flag file that cannot be read, which is one too.
absl::StatusOr<std::vector<FlagAssignment>> ReadFlags(const FlagTable& table, std::string_view verb,
                                                      const std::vector<std::string>& arguments);

// The same for one flag file and what it includes.
absl::StatusOr<std::vector<FlagAssignment>> ReadFlagFile(const FlagTable& table,
                                                         std::string_view verb,
                                                         const std::string& path);

// One line of a flag file that reads back as this value: "--name=value", quoted where needed.
std::string FlagFileLine(std::string_view name, std::string_view value);

}  // namespace mixrec::launch
