// The text of `mixrec help` and `mixrec help VERB`.
#pragma once

#include <string>
#include <vector>

#include "launch/verbs.h"

namespace mixrec::launch {

std::string ProgramHelp(const std::vector<Verb>& verbs);
std::string VerbHelp(const Verb& verb, const FlagTable& table);

}  // namespace mixrec::launch
