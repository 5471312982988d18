// Command lines of a shell, for tests of programs.
#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <string>

#include "common/file.h"
#include "common/status.h"

namespace mixrec {

struct Outcome {
  int code = -1;  // -1: it did not end by itself
  std::string out, err;
};

// Runs a command line to its end; its stderr goes through the file `errors`.
inline Outcome RunInShell(const std::string& command, const std::string& errors) {
  Outcome outcome;
  FILE* pipe = ::popen(StrCat(command, " 2>", errors).c_str(), "r");
  if (pipe == nullptr) return outcome;
  char buffer[4096];
  for (size_t got; (got = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
    outcome.out.append(buffer, got);
  }
  const int status = ::pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  outcome.err = ReadFile(errors).value_or("");
  return outcome;
}

}  // namespace mixrec
