// `mixrec bench search`.
#pragma once

#include "common/status.h"
#include "launch/program.h"

namespace mixrec::launch {

absl::Status RunBenchSearch(const Invocation& invocation);

}  // namespace mixrec::launch
