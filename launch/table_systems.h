// The systems of a table: flag files that say how each differs from the flags it is run with.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/status.h"
#include "launch/flag_table.h"

namespace mixrec::launch {

// As the value of --architecture in a system's flag file: what a search finds best.
inline constexpr char kSearched[] = "searched";

struct TableSystem {
  std::string name;                          // the flag file's, without folder and ending
  std::string title;                         // its first line, a comment
  std::map<std::string, std::string> flags;  // of `mixrec train`, canonical
  int64_t seeds = 1;
};

// The systems of a list such as "base,sweeps:1,mine.flags": names of FOLDER/NAME.flags, of groups
// FOLDER/NAME.group (one system or group a line), or paths of flag files, each with its number of
// seeds if it differs from `seeds`. In the order given, the first mention of a name counts.
// UsageErrors name what is unknown or wrong. `table` is that of `mixrec train`.
absl::StatusOr<std::vector<TableSystem>> FindSystems(const FlagTable& table,
                                                     const std::string& list,
                                                     const std::string& folder, int64_t seeds);

// `folder` itself when it exists; a relative one also as seen from the source folder of the
// program that runs (build/PRESET/bin/mixrec).
std::string VariationsFolder(const std::string& folder);

}  // namespace mixrec::launch
