#include "launch/program.h"

#include <gflags/gflags.h>

#include <algorithm>
#include <exception>
#include <new>

#include "common/log.h"
#include "launch/build_info.h"
#include "launch/flag_line.h"
#include "launch/flags.h"
#include "launch/help.h"
#include "launch/launcher.h"
#include "launch/logging.h"
#include "launch/stop_flags.h"

namespace mixrec::launch {
namespace {

using Words = std::vector<std::string>;

bool IsHelp(const std::string& word) { return word == "--help" || word == "-help" || word == "-h"; }

// The verb's name at the head of the words: one word, or two for `bench step`.
std::string TakeVerb(Words* words) {
  std::string name = words->front();
  words->erase(words->begin());
  const bool pair = name == "bench" && !words->empty() && words->front()[0] != '-';
  if (pair) {
    name += StrCat(" ", words->front());
    words->erase(words->begin());
  }
  return name;
}

absl::Status UnknownVerb(const std::vector<Verb>& verbs, const std::string& name) {
  std::string longer;  // "bench": the commands of two words that begin so
  for (const Verb& verb : verbs) {
    if (verb.name.rfind(name + " ", 0) == 0) longer += (longer.empty() ? "" : ", ") + verb.name;
  }
  if (!longer.empty()) return UsageError("\"", name, "\" needs a second word: ", longer);
  std::string closest;
  int best = 3;
  for (const Verb& verb : verbs) {
    const int distance = EditDistance(name, verb.name);
    if (distance < best) {
      best = distance;
      closest = verb.name;
    }
  }
  return UsageError("unknown command \"", name, "\"", DidYouMean(closest),
                    "; `mixrec help` lists them");
}

int Fail(const std::string& who, const absl::Status& status, std::ostream& err) {
  if (IsFirstOfCommand()) err << who << ": " << StatusText(status) << std::endl;
  return ExitCodeOf(status);
}

// All flags of the verb: defaults, then what was given.
std::map<std::string, std::string> ValuesOf(const FlagTable& table, const Verb& verb,
                                            const std::map<std::string, std::string>& given) {
  std::map<std::string, std::string> values = given;
  for (const auto& [name, flag] : table.flags()) {
    if (table.Takes(verb.name, name)) values.emplace(name, flag.default_value);
  }
  return values;
}

int RunVerb(const Commands& commands, const std::vector<Verb>& verbs, const Verb& verb,
            const Words& words, Invocation invocation) {
  const std::string who = StrCat("mixrec ", verb.name);
  const FlagTable table = MakeFlagTable(verbs, verb.name);
  if (std::any_of(words.begin(), words.end(), IsHelp)) {
    *invocation.out << VerbHelp(verb, table);
    return kExitDone;
  }
  const auto flags = ReadFlags(table, verb.name, words);
  if (!flags.ok()) return Fail(who, flags.status(), *invocation.err);
  for (const FlagAssignment& flag : *flags) {
    invocation.given[flag.name] = CanonicalText(*table.Find(flag.name), flag.value);
  }
  invocation.verb = &verb;
  invocation.table = &table;
  invocation.values = ValuesOf(table, verb, invocation.given);
  const gflags::FlagSaver saver;
  SetFlags(invocation.values);
  SetTerminalLogLevel(FLAGS_log_level);
  const auto command = commands.find(verb.name);
  CHECK(command != commands.end()) << "no code for the command " << verb.name;
  const absl::Status status = RunGuarded([&]() -> absl::Status {
    MIXREC_RETURN_IF_ERROR(HeedStopFlags(invocation));
    return command->second(invocation);
  });
  invocation.out->flush();
  return status.ok() ? kExitDone : Fail(who, status, *invocation.err);
}

int Help(const std::vector<Verb>& verbs, Words words, std::ostream& out, std::ostream& err) {
  if (words.empty()) {
    out << ProgramHelp(verbs);
    return kExitDone;
  }
  const std::string name = TakeVerb(&words);
  const Verb* verb = FindVerb(verbs, name);
  if (verb == nullptr) return Fail("mixrec help", UnknownVerb(verbs, name), err);
  out << VerbHelp(*verb, MakeFlagTable(verbs, name));
  return kExitDone;
}

}  // namespace

absl::Status RunGuarded(const std::function<absl::Status()>& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return MemoryError("out of memory; a smaller --batch or --max_items needs less");
  } catch (const std::exception& error) {
    return FailureError(error.what());
  }
}

void SetFlags(const std::map<std::string, std::string>& values) {
  for (const auto& [name, value] : values) {
    const std::string set = gflags::SetCommandLineOption(name.c_str(), value.c_str());
    CHECK(!set.empty()) << "gflags refused --" << name << "=" << value;
  }
}

int RunProgram(const Commands& commands, const Words& arguments, std::ostream& out,
               std::ostream& err) {
  const std::vector<Verb> verbs = Verbs();
  if (arguments.empty()) {
    err << ProgramHelp(verbs);
    return kExitUsage;
  }
  Words words = arguments;
  if (words.front() == "help" || IsHelp(words.front()))
    return Help(verbs, {words.begin() + 1, words.end()}, out, err);
  if (words.front() == "version" || words.front() == "--version") {
    out << VersionLine() << "\n";
    return kExitDone;
  }
  const std::string name = TakeVerb(&words);
  const Verb* verb = FindVerb(verbs, name);
  if (verb == nullptr) return Fail("mixrec", UnknownVerb(verbs, name), err);
  Invocation invocation;
  invocation.arguments = arguments;
  invocation.out = &out;
  invocation.err = &err;
  return RunVerb(commands, verbs, *verb, words, std::move(invocation));
}

}  // namespace mixrec::launch
