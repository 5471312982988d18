// Between a search and the training that follows it.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "launch/program.h"

namespace mixrec::launch {

// The text of best.flags: every flag of the search that `mixrec train` takes too, with the best
// architecture, for `mixrec train --flagfile=best.flags --out=RUN`. Paths are absolute. --out, what
// belongs to one start of the program, and the number of epochs (a trial's is not the final
// training's) stay out.
// `values`: of what was searched besides the bits, by flag.
std::string BestFlags(const Invocation& search, const std::string& architecture,
                      const std::map<std::string, int64_t>& values, const std::string& comment);

}  // namespace mixrec::launch
