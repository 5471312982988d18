// What this program was built from.
#pragma once

#include <string>
#include <vector>

namespace mixrec::launch {

struct BuildInfo {
  std::string version;   // "0.1.0"
  std::string git;       // commit, with "-dirty" when files differed; "unknown" outside git
  std::string type;      // "Release"
  std::string compiler;  // "GNU 12.2.0"
  std::string cpu;       // -march
  std::string torch;     // "2.11.0"
  bool cuda = false;
  std::string sanitizers;
};

BuildInfo ThisBuild();

// "mixrec 0.1.0 (a1b2c3d; Release, GNU 12.2.0, x86-64-v3, torch 2.11.0, CPU)".
std::string VersionLine();

}  // namespace mixrec::launch
