// The program without its process: from the words of a command line to an exit code. Commands are
// handed in, so that tests can run it with their own.
#pragma once

#include <functional>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "common/status.h"
#include "launch/flag_reader.h"
#include "launch/verbs.h"

namespace mixrec::launch {

// What a command is called with. Flag values are in gflags' variables (launch/flags.h).
struct Invocation {
  const Verb* verb = nullptr;
  const FlagTable* table = nullptr;
  std::vector<std::string> arguments;         // as typed, without the program's name
  std::map<std::string, std::string> given;   // flags that were written somewhere
  std::map<std::string, std::string> values;  // all flags of the verb, defaults included

  std::ostream* out = nullptr;  // results
  std::ostream* err = nullptr;  // what is not a result

  bool IsGiven(const std::string& flag) const { return given.count(flag) > 0; }
};

using Command = std::function<absl::Status(const Invocation&)>;
using Commands = std::map<std::string, Command>;  // by the verb's name

// Runs one command line (without the program's name) and returns the exit code. A failure is one
// line on `err`. Flags have their old values again when it returns.
int RunProgram(const Commands& commands, const std::vector<std::string>& arguments,
               std::ostream& out, std::ostream& err);

// What `work` returns; an exception that it lets out becomes a failure.
absl::Status RunGuarded(const std::function<absl::Status()>& work);

// Gives gflags' variables these values. CHECKs that gflags takes them.
void SetFlags(const std::map<std::string, std::string>& values);

}  // namespace mixrec::launch
