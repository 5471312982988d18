// Private to launch/: the commands by what they are for, and groups of flags that several have.
#pragma once

#include <string>
#include <vector>

#include "launch/verbs.h"

namespace mixrec::launch {

using Names = std::vector<std::string>;

std::vector<Verb> DataVerbs();
std::vector<Verb> SearchVerbs();
std::vector<Verb> TrainingVerbs();
std::vector<Verb> MachineVerbs();

FlagGroup DataGroup();
FlagGroup ModelGroup(bool with_architecture);
FlagGroup LossGroup();
FlagGroup OptimiserGroup(bool with_epochs);
FlagGroup ServersGroup(const Names& more = {});
// Of the commands that many processes run together.
FlagGroup RanksGroup(const Names& more = {});
FlagGroup MachineGroup(const Names& first = {});
FlagGroup RunGroup();

}  // namespace mixrec::launch
