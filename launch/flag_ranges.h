// Which values each flag may take; checked once, where the value was written.
#pragma once

#include <string_view>

#include "launch/flag_table.h"

namespace mixrec::launch {

// The range of a flag; an unbounded one for a flag that takes anything of its type.
FlagRange RangeOf(std::string_view name);

}  // namespace mixrec::launch
