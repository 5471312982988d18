#include "launch/verbs.h"

#include <gflags/gflags.h>

#include <algorithm>
#include <iterator>

#include "common/log.h"
#include "launch/flag_ranges.h"
#include "launch/verb_groups.h"

namespace mixrec::launch {
namespace {

FlagType TypeOf(const gflags::CommandLineFlagInfo& info) {
  if (info.type == "bool") return FlagType::kBool;
  if (info.type == "int64") return FlagType::kInteger;
  if (info.type == "double") return FlagType::kReal;
  CHECK_EQ(info.type, "string") << "--" << info.name << " has a type the reader does not know";
  return FlagType::kText;
}

Flag DescribeFlag(const std::string& name) {
  gflags::CommandLineFlagInfo info;
  CHECK(gflags::GetCommandLineFlagInfo(name.c_str(), &info)) << "--" << name << " is not defined";
  Flag flag{name, TypeOf(info), info.default_value, info.description, RangeOf(name), {}};
  flag.default_value = CanonicalText(flag, info.default_value);  // gflags says 0.059999999999999998
  return flag;
}

}  // namespace

std::vector<Verb> Verbs() {
  std::vector<Verb> all;
  for (auto verbs : {DataVerbs(), SearchVerbs(), TrainingVerbs(), MachineVerbs()}) {
    std::move(verbs.begin(), verbs.end(), std::back_inserter(all));
  }
  return all;
}

const Verb* FindVerb(const std::vector<Verb>& verbs, std::string_view name) {
  for (const Verb& verb : verbs) {
    if (verb.name == name) return &verb;
  }
  return nullptr;
}

FlagTable MakeFlagTable(const std::vector<Verb>& verbs, std::string_view verb_name) {
  FlagTable table;
  for (const Verb& verb : verbs) {
    for (const FlagGroup& group : verb.groups) {
      for (const std::string& name : group.flags) {
        const Flag* known = table.Find(name);
        Flag flag = known != nullptr ? *known : DescribeFlag(name);
        flag.verbs.push_back(verb.name);
        table.Add(std::move(flag));
      }
    }
  }
  const Verb* verb = FindVerb(verbs, verb_name);
  CHECK(verb != nullptr) << "no command " << std::string(verb_name);
  for (const auto& [name, value] : verb->defaults) {
    Flag flag = *table.Find(name);
    flag.default_value = value;
    table.Add(std::move(flag));
  }
  return table;
}

}  // namespace mixrec::launch
